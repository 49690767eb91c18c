/* The ring without the lock: ends, bytes and records with deadlines. */
#include "check.h"

#include <pthread.h>

static void an_end_is_opened_once(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer = attached(desc);
	size_t count;

	EQUAL(mon_shm_write(desc, "x", 1, 0, NULL), EPERM);
	EQUAL(mon_shm_read(desc, &count, 1, 0, &count), EPERM);
	EQUAL(mon_shm_writer_close(desc), EPERM);
	EQUAL(mon_shm_reader_close(desc), EPERM);
	SETS_ERRNO(EQUAL(mon_shm_record_limit(desc), 0), EPERM);
	EQUAL(mon_shm_writer_open(desc), 0);
	EQUAL(mon_shm_writer_open(desc), EBUSY);
	EQUAL(mon_shm_writer_open(peer), EBUSY);
	EQUAL(mon_shm_reader_open(peer), 0);
	EQUAL(mon_shm_reader_open(desc), EBUSY);
	/* The ends are taken, so the calls under the lock keep off. */
	SETS_ERRNO(mon_shm_rbuf_append(&desc->header->rbuf, desc->header, (char[]){ "x" }, 1), EBUSY);
	SETS_ERRNO(mon_shm_rbuf_skip(&desc->header->rbuf, 1), EBUSY);
	EQUAL(mon_shm_writer_close(desc), 0);
	EQUAL(mon_shm_writer_open(peer), 0);
	EQUAL(mon_shm_writer_close(peer), 0);
	EQUAL(mon_shm_reader_close(peer), 0);
	KEEPS_ERRNO(mon_shm_rbuf_append(&desc->header->rbuf, desc->header, (char[]){ "x" }, 1));
	mon_shm_done(peer);
	mon_shm_done(desc);
}

static void *use_anothers_end(void *argument)
{
	mon_shm_desc *desc = argument;
	size_t count;

	EQUAL(mon_shm_write(desc, "x", 1, 0, NULL), EPERM);
	EQUAL(mon_shm_read(desc, &count, 1, 0, &count), EPERM);
	EQUAL(mon_shm_writer_close(desc), EPERM);
	EQUAL(mon_shm_writer_open(desc), EBUSY);
	return NULL;
}

static void an_end_belongs_to_its_thread(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl);
	pthread_t thread;

	EQUAL(mon_shm_writer_open(desc), 0);
	EQUAL(mon_shm_reader_open(desc), 0);
	EQUAL(pthread_create(&thread, NULL, use_anothers_end, desc), 0);
	EQUAL(pthread_join(thread, NULL), 0);
	EQUAL(mon_shm_write(desc, "x", 1, 0, NULL), 0);
	mon_shm_done(desc);		/* closes the ends */
}

static void bytes_without_waiting(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(4096, impl);
	static char bytes[4096];
	size_t count = 99, room = mon_shm_rbuf_avail(&desc->header->rbuf);

	EQUAL(mon_shm_writer_open(desc), 0);
	EQUAL(mon_shm_reader_open(desc), 0);
	EQUAL(mon_shm_read(desc, bytes, 8, 0, &count), EAGAIN);
	EQUAL(count, 0);
	EQUAL(mon_shm_write(desc, "hello", 5, 0, &count), 0);
	EQUAL(count, 5);
	EQUAL(mon_shm_read(desc, bytes, sizeof bytes, 0, &count), 0);
	EQUAL(count, 5);
	CHECK(memcmp(bytes, "hello", 5) == 0);
	EQUAL(mon_shm_write(desc, bytes, room + 1, 0, &count), EINVAL);
	EQUAL(mon_shm_write(desc, bytes, room - 1, 0, &count), 0);
	EQUAL(mon_shm_write(desc, bytes, 2, 0, &count), ENOSPC);
	EQUAL(count, 0);
	EQUAL(mon_shm_write(desc, bytes, 1, 0, NULL), 0);
	EQUAL(mon_shm_write(desc, NULL, 1, 0, NULL), EINVAL);
	EQUAL(mon_shm_read(desc, NULL, 1, 0, &count), EINVAL);
	EQUAL(mon_shm_read(desc, bytes, 1, 0, NULL), EINVAL);
	mon_shm_done(desc);
}

static void deadlines_are_kept_and_parts_are_told(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(4096, impl);
	static char bytes[8192];
	size_t count = 0, room = mon_shm_rbuf_avail(&desc->header->rbuf);
	mon_shm_record record = { 1, 0, 0, 0 };
	long begin = now_ms();

	EQUAL(mon_shm_writer_open(desc), 0);
	EQUAL(mon_shm_reader_open(desc), 0);
	EQUAL(mon_shm_read(desc, bytes, 1, 60, &count), ETIMEDOUT);
	CHECK(now_ms() - begin >= 60);
	begin = now_ms();
	EQUAL(mon_shm_record_read(desc, &record, bytes, 1, 60), ETIMEDOUT);
	CHECK(now_ms() - begin >= 60);
	begin = now_ms();
	EQUAL(mon_shm_write(desc, bytes, sizeof bytes, 60, &count), ETIMEDOUT);
	CHECK(now_ms() - begin >= 60 && now_ms() - begin < 2000 * slowness());
	EQUAL(count, room);
	mon_shm_done(desc);
}

static void closing_is_told_after_all_was_read(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer = attached(desc);
	mon_shm_record record = { 1, 0, 0, 0 };
	char bytes[8];
	size_t count;

	EQUAL(mon_shm_writer_open(desc), 0);
	EQUAL(mon_shm_reader_open(peer), 0);
	EQUAL(mon_shm_write(desc, "the last", 8, 0, NULL), 0);
	EQUAL(mon_shm_writer_close(desc), 0);
	EQUAL(mon_shm_read(peer, bytes, 8, MON_SHM_FOREVER, &count), 0);
	EQUAL(count, 8);
	EQUAL(mon_shm_read(peer, bytes, 8, MON_SHM_FOREVER, &count), 0);
	EQUAL(count, 0);
	EQUAL(mon_shm_record_read(peer, &record, bytes, 8, MON_SHM_FOREVER), EPIPE);
	EQUAL(mon_shm_writer_open(desc), 0);
	EQUAL(mon_shm_reader_close(peer), 0);
	EQUAL(mon_shm_write(desc, bytes, 4, 0, NULL), 0);	/* there is room: nobody is missed yet */
	for (int i = 0; i < 100; i++) {
		int code = mon_shm_write(desc, mon_shm_addr(desc, 0), 30000, 100, NULL);

		if (code == EPIPE)
			break;
		EQUAL(code, 0);
		CHECK(i < 99);
	}
	mon_shm_done(peer);
	mon_shm_done(desc);
}

static void records_keep_their_label(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(4096, impl);
	mon_shm_record record = { 11, 0xbeef, 7, 0x81 }, found;
	char bytes[64] = { 0 };
	uint64_t records, dropped;
	size_t limit;

	EQUAL(mon_shm_writer_open(desc), 0);
	EQUAL(mon_shm_reader_open(desc), 0);
	EQUAL(mon_shm_record_read(desc, &found, bytes, sizeof bytes, 0), EAGAIN);
	EQUAL(mon_shm_record_write(desc, &record, "hello world", 0), 0);
	EQUAL(mon_shm_record_write(desc, &(mon_shm_record){ 0, 1, 2, 3 }, NULL, 0), 0);
	memset(&found, 0, sizeof found);
	EQUAL(mon_shm_record_read(desc, &found, bytes, 10, 0), EMSGSIZE);
	EQUAL(found.len, 11);
	EQUAL(mon_shm_record_read(desc, &found, bytes, sizeof bytes, 0), 0);
	CHECK(memcmp(&found, &record, offsetof(mon_shm_record, flags) + 1) == 0);
	CHECK(strcmp(bytes, "hello world") == 0);
	EQUAL(mon_shm_record_read(desc, &found, NULL, 0, 1000), 0);
	CHECK(found.len == 0 && found.tag == 1 && found.kind == 2 && found.flags == 3);

	limit = mon_shm_record_limit(desc);
	CHECK(limit > 500 && limit < 1024);
	record.len = limit + 1;
	EQUAL(mon_shm_record_write(desc, &record, mon_shm_addr(desc, 0), 0), EINVAL);
	record.len = 60;
	for (int written = 0;; written++) {
		int code = mon_shm_record_write(desc, &record, bytes, 0);

		if (code == ENOSPC)
			break;
		EQUAL(code, 0);
		CHECK(written < 100);
	}
	EQUAL(mon_shm_record_write(desc, &record, bytes, 30), ETIMEDOUT);
	EQUAL(mon_shm_record_write_or_drop(desc, &record, bytes), EAGAIN);
	EQUAL(mon_shm_record_write_or_drop(desc, &record, bytes), EAGAIN);
	EQUAL(mon_shm_record_read(desc, &found, bytes, sizeof bytes, 0), 0);
	EQUAL(mon_shm_record_write_or_drop(desc, &record, bytes), 0);
	EQUAL(mon_shm_drops(desc, &records, &dropped), 0);
	EQUAL(records, 2);
	EQUAL(dropped, 120);
	EQUAL(mon_shm_drops(desc, &records, &dropped), 0);
	EQUAL(records, 0);
	EQUAL(mon_shm_record_write(desc, NULL, bytes, 0), EINVAL);
	EQUAL(mon_shm_record_write(desc, &record, NULL, 0), EINVAL);
	EQUAL(mon_shm_record_read(desc, NULL, bytes, 1, 0), EINVAL);
	EQUAL(mon_shm_drops(desc, NULL, &dropped), EINVAL);
	mon_shm_done(desc);
}

struct task {
	mon_buffer	buf;
	uint32_t	count;
};

static void write_records(void *argument)
{
	struct task *task = argument;
	mon_shm_desc *desc = mon_shm_decode(&task->buf, 4096);
	uint32_t numbers[16];

	CHECK(desc != NULL);
	EQUAL(mon_shm_writer_open(desc), 0);
	for (uint32_t i = 0; i < task->count; i++) {
		mon_shm_record record = { (1 + i % 16) * sizeof *numbers, (uint16_t)i, (uint8_t)(i % 5), 0 };

		for (int n = 0; n < 16; n++)
			numbers[n] = i;
		EQUAL(mon_shm_record_write(desc, &record, numbers, MON_SHM_FOREVER), 0);
	}
	EQUAL(mon_shm_writer_close(desc), 0);
	mon_shm_done(desc);
}

static void two_processes_stream_records(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(4096, impl);
	struct task task = { .count = 20000 / (uint32_t)slowness() };
	uint32_t numbers[16], count = 0;
	mon_shm_record record;
	pid_t child;
	int code;

	buf_init(&task.buf);
	EQUAL(mon_shm_encode(desc, &task.buf), 0);
	EQUAL(mon_shm_reader_open(desc), 0);
	child = in_child(write_records, &task);
	while (count < task.count) {
		EQUAL(mon_shm_record_read(desc, &record, numbers, sizeof numbers, MON_SHM_FOREVER), 0);
		EQUAL(record.len, (1 + count % 16) * sizeof *numbers);
		EQUAL(record.tag, (uint16_t)count);
		EQUAL(record.kind, count % 5);
		for (size_t n = 0; n < record.len / sizeof *numbers; n++)
			EQUAL(numbers[n], count);
		count++;
	}
	joined(child);
	code = mon_shm_record_read(desc, &record, numbers, sizeof numbers, MON_SHM_FOREVER);
	EQUAL(code, EPIPE);
	buf_destroy(&task.buf);
	mon_shm_done(desc);
}

const struct check_test end_tests[] = {
	EACH(an_end_is_opened_once), EACH(an_end_belongs_to_its_thread), EACH(bytes_without_waiting),
	EACH(deadlines_are_kept_and_parts_are_told), EACH(closing_is_told_after_all_was_read),
	EACH(records_keep_their_label), EACH(two_processes_stream_records), END
};
