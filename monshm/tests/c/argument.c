/* NULL, foreign and freed-looking descriptors: every function tells them, and nothing crashes. */
#include "check.h"

#include <pthread.h>

static void every_function_refuses(mon_shm_desc *desc)
{
	mon_shm_record record = { 1, 0, 0, 0 };
	uint64_t records, dropped;
	char byte = 'u';
	mon_buffer buf;
	size_t count;
	void *ptr = &byte;

	buf_init(&buf);
	EQUAL(mon_shm_lock(desc), EINVAL);
	EQUAL(mon_shm_unlock(desc), EINVAL);
	EQUAL(mon_shm_trylock(desc), EINVAL);
	EQUAL(mon_shm_lock_timeout(desc, 1), EINVAL);
	SETS_ERRNO(EQUAL(mon_shm_owner_died(desc), 0), EINVAL);
	EQUAL(mon_shm_encode(desc, &buf), EINVAL);
	EQUAL(buf_len(&buf), 0);
	EQUAL(mon_shm_send(desc, 0), EINVAL);
	SETS_ERRNO(CHECK(mon_shm_addr(desc, 0) == NULL), EINVAL);
	EQUAL(mon_shm_data_alloc(desc, 16, &ptr), EINVAL);
	CHECK(ptr == &byte);
	SETS_ERRNO(mon_shm_ref(desc), EINVAL);
	SETS_ERRNO(mon_shm_done(desc), EINVAL);
	EQUAL(mon_shm_writer_open(desc), EINVAL);
	EQUAL(mon_shm_writer_close(desc), EINVAL);
	EQUAL(mon_shm_reader_open(desc), EINVAL);
	EQUAL(mon_shm_reader_close(desc), EINVAL);
	EQUAL(mon_shm_write(desc, &byte, 1, 0, &count), EINVAL);
	EQUAL(mon_shm_read(desc, &byte, 1, 0, &count), EINVAL);
	EQUAL(mon_shm_record_write(desc, &record, &byte, 0), EINVAL);
	EQUAL(mon_shm_record_write_or_drop(desc, &record, &byte), EINVAL);
	EQUAL(mon_shm_record_read(desc, &record, &byte, 1, 0), EINVAL);
	SETS_ERRNO(EQUAL(mon_shm_record_limit(desc), 0), EINVAL);
	EQUAL(mon_shm_drops(desc, &records, &dropped), EINVAL);
	CHECK(byte == 'u' && strlen(mon_shm_strerror()) > 20);
	buf_destroy(&buf);
}

static void what_is_no_descriptor_is_told(void)
{
	mon_shm_desc *desc = segment(SIZE, MON_SHM_IMPL_AUTO), copy = *desc;

	every_function_refuses(NULL);
	every_function_refuses(&copy);				/* on the stack */
	every_function_refuses((mon_shm_desc *)desc->header);	/* in the segment */
	every_function_refuses((mon_shm_desc *)((char *)desc + 8));
	every_function_refuses(desc + 1);
	every_function_refuses((mon_shm_desc *)16);		/* not mapped */
	every_function_refuses((mon_shm_desc *)UINTPTR_MAX);
	EQUAL(mon_shm_lock(desc), 0);
	EQUAL(mon_shm_unlock(desc), 0);
	EQUAL(desc->refcnt, 1);
	mon_shm_done(desc);
	every_function_refuses(desc);				/* gone */
}

static void a_descriptor_that_is_gone_stays_gone_for_long(void)
{
	mon_shm_desc *gone = segment(4096, MON_SHM_IMPL_AUTO), *desc;

	mon_shm_done(gone);
	for (int i = 0; i < 200; i++) {
		desc = segment(4096, MON_SHM_IMPL_AUTO);
		CHECK(desc != gone);
		mon_shm_done(desc);
	}
	every_function_refuses(gone);
}

static void what_the_program_scribbles_harms_no_call(void)
{
	mon_shm_desc *desc = segment(SIZE, MON_SHM_IMPL_AUTO);
	mon_shm_header *header = desc->header;

	desc->header = NULL;
	desc->priv = NULL;
	desc->orig_size = SIZE_MAX;
	desc->impl = MON_SHM_IMPL_NONE;
	desc->is_master = 0;
	SETS_ERRNO(CHECK(mon_shm_addr(desc, SIZE) == NULL), EINVAL);
	EQUAL(mon_shm_lock(desc), 0);
	KEEPS_ERRNO(mon_shm_rbuf_append(&header->rbuf, header, (char[]){ "x" }, 1));
	EQUAL(mon_shm_unlock(desc), 0);
	mon_shm_done(desc);
}

static void buffers_are_looked_at_too(void)
{
	mon_shm_desc *desc = segment(SIZE, MON_SHM_IMPL_AUTO);
	mon_buffer junk;

	memset(&junk, 0x5a, sizeof junk);
	EQUAL(mon_shm_encode(desc, NULL), EINVAL);
	EQUAL(mon_shm_encode(desc, &junk), EINVAL);
	SETS_ERRNO(CHECK(mon_shm_decode(NULL, SIZE) == NULL), EINVAL);
	SETS_ERRNO(CHECK(mon_shm_decode(&junk, SIZE) == NULL), EINVAL);
	mon_shm_done(desc);
}

static void *fail_otherwise(void *argument)
{
	(void)argument;
	CHECK(strstr(mon_shm_strerror(), "nothing went wrong") != NULL);
	CHECK(mon_shm_new(0, NULL, MON_SHM_IMPL_AUTO) == NULL);
	return NULL;
}

static void each_thread_has_its_last_failure(void)
{
	pthread_t thread;

	CHECK(mon_shm_new(SIZE, NULL, MON_SHM_IMPL_NONE) == NULL);
	EQUAL(pthread_create(&thread, NULL, fail_otherwise, NULL), 0);
	EQUAL(pthread_join(thread, NULL), 0);
	CHECK(strstr(mon_shm_strerror(), "switched off") != NULL);
}

const struct check_test argument_tests[] = {
	ONCE(what_is_no_descriptor_is_told), ONCE(a_descriptor_that_is_gone_stays_gone_for_long),
	ONCE(what_the_program_scribbles_harms_no_call), ONCE(buffers_are_looked_at_too),
	ONCE(each_thread_has_its_last_failure), END
};
