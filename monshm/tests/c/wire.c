/* encode and decode: the bytes, who may use them, how often, and what is told when they are wrong. */
#include "check.h"

#include <fcntl.h>
#include <signal.h>

static void encoded(mon_shm_desc *desc, mon_buffer *buf)
{
	buf_init(buf);
	EQUAL(mon_shm_encode(desc, buf), 0);
}

struct errand {
	mon_buffer	buf;
	size_t		size;
};

static void attach_and_answer(void *argument)
{
	struct errand *errand = argument;
	mon_shm_desc *desc = mon_shm_decode(&errand->buf, errand->size);
	char bytes[5];

	CHECK(desc != NULL);
	EQUAL(desc->is_master, 0);
	EQUAL(mon_shm_lock(desc), 0);
	mon_shm_rbuf_read(&desc->header->rbuf, desc->header, bytes, 5);
	CHECK(memcmp(bytes, "hello", 5) == 0);
	mon_shm_rbuf_append(&desc->header->rbuf, desc->header, (char[]){ "good bye" }, 8);
	EQUAL(mon_shm_unlock(desc), 0);
	mon_shm_done(desc);
}

static void bytes_alone_reach_another_process(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl);
	struct errand errand = { .size = SIZE };
	char bytes[8];

	EQUAL(mon_shm_lock(desc), 0);
	mon_shm_rbuf_append(&desc->header->rbuf, desc->header, (char[]){ "hello" }, 5);
	EQUAL(mon_shm_unlock(desc), 0);
	encoded(desc, &errand.buf);
	joined(in_child(attach_and_answer, &errand));
	EQUAL(mon_shm_lock(desc), 0);
	EQUAL(mon_shm_rbuf_len(&desc->header->rbuf), 8);
	mon_shm_rbuf_read(&desc->header->rbuf, desc->header, bytes, 8);
	CHECK(memcmp(bytes, "good bye", 8) == 0);
	EQUAL(mon_shm_unlock(desc), 0);
	buf_destroy(&errand.buf);
	mon_shm_done(desc);
}

static void asked_size_and_rounded_size_match(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(5000, impl), *peer;
	mon_buffer buf;

	encoded(desc, &buf);
	CHECK((peer = mon_shm_decode(&buf, 5000)) != NULL);
	mon_shm_done(peer);
	EQUAL(mon_shm_encode(desc, &buf), 0);
	CHECK((peer = mon_shm_decode(&buf, desc->orig_size)) != NULL);
	mon_shm_done(peer);
	buf_destroy(&buf);
	mon_shm_done(desc);
}

/* What a call of decode prints on stderr. */
static size_t printed_by_decode(mon_buffer *buf, size_t size, char *text, size_t room)
{
	int ends[2], saved = dup(2), error;
	ssize_t got;

	CHECK(pipe(ends) == 0);
	CHECK(dup2(ends[1], 2) == 2);
	errno = 0;
	CHECK(mon_shm_decode(buf, size) == NULL);
	error = errno;
	CHECK(dup2(saved, 2) == 2);
	close(ends[1]);
	got = read(ends[0], text, room - 1);
	close(ends[0]);
	close(saved);
	CHECK(got >= 0);
	text[got] = 0;
	errno = error;
	return (size_t)got;
}

static void a_wrong_size_prints_a_line_and_spends_nothing(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer;
	char text[1024];
	size_t len, before;
	mon_buffer buf;

	encoded(desc, &buf);
	before = buf_len(&buf);
	len = printed_by_decode(&buf, SIZE * 2, text, sizeof text);
	EQUAL(errno, EMSGSIZE);
	CHECK(len > 1 && strchr(text, '\n') == text + len - 1);
	CHECK(strstr(text, "65536") && strstr(text, "131072"));
	CHECK(strstr(mon_shm_strerror(), "131072") != NULL);
	EQUAL(buf_len(&buf), before);
	for (int i = 0; i < 2; i++) {			/* sizes that no segment has */
		len = printed_by_decode(&buf, i == 0 ? 0 : SIZE_MAX, text, sizeof text);
		EQUAL(errno, EINVAL);
		CHECK(len > 1 && strchr(text, '\n') == text + len - 1);
	}
	CHECK((peer = mon_shm_decode(&buf, SIZE)) != NULL);
	EQUAL(buf_len(&buf), 0);
	mon_shm_done(peer);
	buf_destroy(&buf);
	mon_shm_done(desc);
}

static void what_follows_the_descriptor_stays(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *first, *second;
	mon_buffer buf;
	char bytes[4];

	buf_init(&buf);
	EQUAL(buf_append_data(&buf, (char[]){ "front" }, 5), 0);
	EQUAL(mon_shm_encode(desc, &buf), 0);		/* encode appends */
	EQUAL(mon_shm_encode(desc, &buf), 0);
	EQUAL(buf_append_data(&buf, (char[]){ "back" }, 4), 0);
	SETS_ERRNO(CHECK(mon_shm_decode(&buf, SIZE) == NULL), EPROTO);
	EQUAL(buf_extract_data(&buf, (char[5]){ 0 }, 5), 0);
	CHECK((first = mon_shm_decode(&buf, SIZE)) != NULL);
	CHECK((second = mon_shm_decode(&buf, SIZE)) != NULL);
	EQUAL(buf_len(&buf), 4);
	EQUAL(buf_extract_data(&buf, bytes, 4), 0);
	CHECK(memcmp(bytes, "back", 4) == 0);
	buf_destroy(&buf);
	mon_shm_done(first);
	mon_shm_done(second);
	mon_shm_done(desc);
}

static void damaged_bytes_are_told_and_spend_nothing(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer;
	char copy[256], text[1024];
	mon_buffer whole, buf;
	size_t len;

	encoded(desc, &whole);
	len = buf_len(&whole);
	CHECK(len <= sizeof copy);
	for (size_t cut = 0; cut < len; cut++) {
		buf_init_full(&buf, buf_start(&whole), cut);
		SETS_ERRNO(CHECK(mon_shm_decode(&buf, SIZE) == NULL), EPROTO);
		EQUAL(buf_len(&buf), cut);
		buf_destroy(&buf);
	}
	for (size_t bit = 0; bit < len * 8; bit += 5) {
		memcpy(copy, buf_start(&whole), len);
		copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
		buf_init_full(&buf, copy, len);
		printed_by_decode(&buf, SIZE, text, sizeof text);
		EQUAL(errno, EPROTO);
		buf_destroy(&buf);
	}
	CHECK((peer = mon_shm_decode(&whole, SIZE)) != NULL);
	mon_shm_done(peer);
	buf_destroy(&whole);
	mon_shm_done(desc);
}

static void a_descriptor_serves_once_and_encode_gives_a_fresh_one(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer, *more;
	char copy[256];
	mon_buffer buf, again;
	size_t len;

	encoded(desc, &buf);
	len = buf_len(&buf);
	memcpy(copy, buf_start(&buf), len);
	CHECK((peer = mon_shm_decode(&buf, SIZE)) != NULL);
	buf_init_full(&again, copy, len);
	errno = 0;
	CHECK(mon_shm_decode(&again, SIZE) == NULL);
	/* A name goes with the first attach: then the object is not found any more. */
	CHECK(errno == ESTALE || errno == ENOENT || errno == EIDRM);
	buf_destroy(&again);
	EQUAL(mon_shm_encode(desc, &buf), 0);
	CHECK((more = mon_shm_decode(&buf, SIZE)) != NULL);
	buf_destroy(&buf);
	mon_shm_done(more);
	mon_shm_done(peer);
	mon_shm_done(desc);
}

static void encode_is_the_creators_and_needs_room(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer = attached(desc);
	mon_buffer buf;

	buf_init(&buf);
	EQUAL(mon_shm_encode(peer, &buf), EINVAL);
	EQUAL(buf_len(&buf), 0);
	buf_destroy(&buf);
	EQUAL(buf_init_fixed(&buf, 16), 0);
	EQUAL(mon_shm_encode(desc, &buf), ENOSPC);
	EQUAL(buf_len(&buf), 0);
	buf_destroy(&buf);
	buf_init_full(&buf, "", 0);
	EQUAL(mon_shm_encode(desc, &buf), ENOSPC);
	buf_destroy(&buf);
	mon_shm_done(peer);
	mon_shm_done(desc);
}

static void after_the_masters_done_peers_go_on_and_nobody_attaches(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer = attached(desc);
	mon_buffer buf;
	char byte;

	mon_shm_rbuf_append(&desc->header->rbuf, desc->header, (char[]){ "x" }, 1);
	encoded(desc, &buf);
	mon_shm_done(desc);
	errno = 0;
	CHECK(mon_shm_decode(&buf, SIZE) == NULL);
	CHECK(errno == ENOENT || errno == EIDRM);
	EQUAL(mon_shm_lock(peer), 0);
	KEEPS_ERRNO(mon_shm_rbuf_read(&peer->header->rbuf, peer->header, &byte, 1));
	CHECK(byte == 'x');
	EQUAL(mon_shm_unlock(peer), 0);
	buf_destroy(&buf);
	mon_shm_done(peer);
}

static void use_the_parents(void *argument)
{
	mon_shm_desc *desc = argument;
	mon_buffer buf;
	void *ptr;

	EQUAL(mon_shm_lock(desc), EPERM);
	EQUAL(mon_shm_trylock(desc), EPERM);
	EQUAL(mon_shm_lock_timeout(desc, 10), EPERM);
	EQUAL(mon_shm_unlock(desc), EPERM);
	EQUAL(mon_shm_data_alloc(desc, 16, &ptr), EPERM);
	buf_init(&buf);
	EQUAL(mon_shm_encode(desc, &buf), EPERM);
	SETS_ERRNO(mon_shm_rbuf_skip(&desc->header->rbuf, 1), EPERM);
	buf_destroy(&buf);
	mon_shm_done(desc);
}

static void a_forked_child_takes_nothing_from_its_parent(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer;

	mon_shm_rbuf_append(&desc->header->rbuf, desc->header, (char[]){ "abc" }, 3);
	EQUAL(mon_shm_lock(desc), 0);
	joined(in_child(use_the_parents, desc));
	EQUAL(mon_shm_unlock(desc), 0);
	EQUAL(mon_shm_rbuf_len(&desc->header->rbuf), 3);
	peer = attached(desc);
	mon_shm_done(peer);
	mon_shm_done(desc);
}

static void many_peers_attach_up_to_the_slots(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peers[31];
	mon_buffer buf;

	for (size_t i = 0; i < 31; i++)
		peers[i] = attached(desc);
	encoded(desc, &buf);
	SETS_ERRNO(CHECK(mon_shm_decode(&buf, SIZE) == NULL), EBUSY);
	mon_shm_done(peers[30]);
	CHECK((peers[30] = mon_shm_decode(&buf, SIZE)) != NULL);
	buf_destroy(&buf);
	for (size_t i = 0; i < 31; i++)
		mon_shm_done(peers[i]);
	mon_shm_done(desc);
}

const struct check_test wire_tests[] = {
	EACH(bytes_alone_reach_another_process), EACH(asked_size_and_rounded_size_match),
	EACH(a_wrong_size_prints_a_line_and_spends_nothing), EACH(what_follows_the_descriptor_stays),
	EACH(damaged_bytes_are_told_and_spend_nothing), EACH(a_descriptor_serves_once_and_encode_gives_a_fresh_one),
	EACH(encode_is_the_creators_and_needs_room), EACH(after_the_masters_done_peers_go_on_and_nobody_attaches),
	EACH(a_forked_child_takes_nothing_from_its_parent), EACH(many_peers_attach_up_to_the_slots), END
};
