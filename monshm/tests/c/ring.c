/* The ring under the lock: amounts, errno, wrapping, corruption, addresses that are none of ours. */
#include "check.h"

#define RING(desc)	&(desc)->header->rbuf
#define APPEND(desc, bytes, len)	mon_shm_rbuf_append(RING(desc), (desc)->header, (bytes), (len))
#define READ(desc, bytes, len)		mon_shm_rbuf_read(RING(desc), (desc)->header, (bytes), (len))

static void bytes_come_out_as_they_went_in(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer = attached(desc);
	char bytes[16] = { 0 };

	EQUAL(mon_shm_lock(desc), 0);
	KEEPS_ERRNO(APPEND(desc, "0123456789", 10));
	KEEPS_ERRNO(APPEND(desc, NULL, 0));
	errno = 12345;
	EQUAL(mon_shm_rbuf_len(RING(desc)), 10);
	EQUAL(mon_shm_rbuf_avail(RING(desc)), desc->header->rbuf.end - desc->header->rbuf.begin - 1 - 10);
	EQUAL(errno, 12345);
	EQUAL(desc->header->rbuf.tail - desc->header->rbuf.head, 10);
	EQUAL(mon_shm_unlock(desc), 0);

	EQUAL(mon_shm_lock(peer), 0);
	KEEPS_ERRNO(READ(peer, bytes, 4));
	CHECK(memcmp(bytes, "0123", 5) == 0);
	KEEPS_ERRNO(mon_shm_rbuf_skip(RING(peer), 3));
	KEEPS_ERRNO(READ(peer, bytes, 3));
	CHECK(memcmp(bytes, "789", 3) == 0);
	KEEPS_ERRNO(READ(peer, NULL, 0));
	KEEPS_ERRNO(mon_shm_rbuf_skip(RING(peer), 0));
	EQUAL(mon_shm_rbuf_len(RING(peer)), 0);
	EQUAL(peer->header->rbuf.head, peer->header->rbuf.tail);
	EQUAL(mon_shm_unlock(peer), 0);
	mon_shm_done(peer);
	mon_shm_done(desc);
}

static void too_much_changes_nothing(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(4096, impl);	/* one page has a ring */
	static char bytes[4096], before[4096];
	size_t room = mon_shm_rbuf_avail(RING(desc));

	CHECK(room > 1000 && room < 4096 - 2048);
	EQUAL(room, desc->header->rbuf.end - desc->header->rbuf.begin - 1);
	SETS_ERRNO(APPEND(desc, bytes, room + 1), ENOSPC);
	SETS_ERRNO(APPEND(desc, bytes, SIZE_MAX), ENOSPC);
	EQUAL(mon_shm_rbuf_len(RING(desc)), 0);
	KEEPS_ERRNO(APPEND(desc, bytes, room));
	EQUAL(mon_shm_rbuf_avail(RING(desc)), 0);
	SETS_ERRNO(APPEND(desc, bytes, 1), ENOSPC);
	EQUAL(mon_shm_rbuf_len(RING(desc)), room);
	KEEPS_ERRNO(mon_shm_rbuf_skip(RING(desc), room - 2));

	memset(bytes, 'u', sizeof bytes);
	memcpy(before, bytes, sizeof bytes);
	SETS_ERRNO(READ(desc, bytes, 3), EAGAIN);
	SETS_ERRNO(READ(desc, bytes, room + 1), EAGAIN);
	SETS_ERRNO(READ(desc, bytes, SIZE_MAX), EAGAIN);
	CHECK(memcmp(bytes, before, sizeof bytes) == 0);
	SETS_ERRNO(mon_shm_rbuf_skip(RING(desc), 3), EAGAIN);
	SETS_ERRNO(mon_shm_rbuf_skip(RING(desc), SIZE_MAX), EAGAIN);
	EQUAL(mon_shm_rbuf_len(RING(desc)), 2);
	CHECK(strstr(mon_shm_strerror(), "bytes") != NULL);
	mon_shm_done(desc);
}

static void the_ring_goes_round(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(4096, impl);
	unsigned char in = 0, out = 0, bytes[97];

	for (int turn = 0; turn < 500; turn++) {
		size_t len = 1 + (size_t)turn * 37 % sizeof bytes;

		for (size_t i = 0; i < len; i++)
			bytes[i] = in++;
		KEEPS_ERRNO(APPEND(desc, bytes, len));
		memset(bytes, 0, sizeof bytes);
		KEEPS_ERRNO(READ(desc, bytes, len));
		for (size_t i = 0; i < len; i++)
			CHECK(bytes[i] == out++);
	}
	mon_shm_done(desc);
}

static void corrupt_indices_are_told(mon_shm_impl impl)
{
	static const uint64_t bad[] = { 0, 1, SIZE, SIZE + 1, UINT64_MAX, (uint64_t)1 << 63 };

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		for (int which = 0; which < 2; which++) {
			mon_shm_desc *desc = segment(SIZE, impl), *peer = attached(desc);
			char byte = 'u';

			APPEND(desc, "abc", 3);
			if (which)
				peer->header->rbuf.head = bad[i];
			else
				peer->header->rbuf.tail = bad[i];
			SETS_ERRNO(READ(desc, &byte, 1), EPROTO);
			CHECK(byte == 'u');
			SETS_ERRNO(APPEND(desc, "abc", 3), EPROTO);
			SETS_ERRNO(mon_shm_rbuf_skip(RING(desc), 1), EPROTO);
			SETS_ERRNO(EQUAL(mon_shm_rbuf_len(RING(desc)), 0), EPROTO);
			SETS_ERRNO(EQUAL(mon_shm_rbuf_avail(RING(desc)), 0), EPROTO);
			EQUAL(mon_shm_lock(desc), EPROTO);
			mon_shm_done(peer);
			mon_shm_done(desc);
		}
}

static void bounds_come_from_private_memory(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer = attached(desc);
	static char bytes[SIZE];
	size_t room = mon_shm_rbuf_avail(RING(desc));

	peer->header->rbuf.end = UINT64_MAX;
	peer->header->rbuf.begin = 0;
	EQUAL(mon_shm_rbuf_avail(RING(desc)), room);
	SETS_ERRNO(APPEND(desc, bytes, room + 1), ENOSPC);
	KEEPS_ERRNO(APPEND(desc, bytes, room));
	KEEPS_ERRNO(READ(desc, bytes, room));
	mon_shm_done(peer);
	mon_shm_done(desc);
}

static void addresses_that_are_none_of_ours_are_told(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *other = segment(SIZE, impl);
	mon_shm_rbuf *ring = RING(desc), fake;
	char *base = (char *)desc->header, byte = 'u';
	mon_shm_header *header = desc->header;

	memset(&fake, 0, sizeof fake);
	SETS_ERRNO(mon_shm_rbuf_append(NULL, header, &byte, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_append(ring, NULL, &byte, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_append(ring, base + 4096, &byte, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_append(ring, other->header, &byte, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_append(&fake, &fake, &byte, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_append(&fake, (char *)&fake - 128, &byte, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_append((mon_shm_rbuf *)128, NULL, &byte, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_append(ring, header, NULL, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_read(ring, other->header, &byte, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_read(ring, header, NULL, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_read(NULL, NULL, &byte, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_skip(NULL, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_skip(&fake, 1), EINVAL);
	SETS_ERRNO(mon_shm_rbuf_skip((mon_shm_rbuf *)(base + 4096 + 128), 1), EINVAL);
	SETS_ERRNO(EQUAL(mon_shm_rbuf_avail(NULL), 0), EINVAL);
	SETS_ERRNO(EQUAL(mon_shm_rbuf_avail(&fake), 0), EINVAL);
	SETS_ERRNO(EQUAL(mon_shm_rbuf_len(NULL), 0), EINVAL);
	SETS_ERRNO(EQUAL(mon_shm_rbuf_len((mon_shm_rbuf *)128), 0), EINVAL);
	CHECK(byte == 'u');
	EQUAL(mon_shm_rbuf_len(ring), 0);
	mon_shm_done(desc);
	SETS_ERRNO(mon_shm_rbuf_append(ring, header, &byte, 1), EINVAL);	/* unmapped by now */
	SETS_ERRNO(mon_shm_rbuf_len(ring), EINVAL);
	mon_shm_done(other);
}

struct stream {
	mon_buffer	buf;
	int		bytes;
};

static void write_stream(void *argument)
{
	struct stream *stream = argument;
	mon_shm_desc *desc = mon_shm_decode(&stream->buf, 4096);

	CHECK(desc != NULL);
	for (int i = 0; i < stream->bytes;) {
		unsigned char byte = (unsigned char)(i * 7);

		EQUAL(mon_shm_lock(desc), 0);
		if (mon_shm_rbuf_avail(RING(desc)) != 0) {
			KEEPS_ERRNO(APPEND(desc, &byte, 1));
			i++;
		}
		EQUAL(mon_shm_unlock(desc), 0);
	}
	mon_shm_done(desc);
}

static void two_processes_stream_under_the_lock(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(4096, impl);
	struct stream stream = { .bytes = 5000 };
	unsigned char byte;
	pid_t child;

	buf_init(&stream.buf);
	EQUAL(mon_shm_encode(desc, &stream.buf), 0);
	child = in_child(write_stream, &stream);
	for (int i = 0; i < stream.bytes;) {
		EQUAL(mon_shm_lock(desc), 0);
		if (mon_shm_rbuf_len(RING(desc)) != 0) {
			KEEPS_ERRNO(READ(desc, &byte, 1));
			EQUAL(byte, (unsigned char)(i * 7));
			i++;
		}
		EQUAL(mon_shm_unlock(desc), 0);
	}
	joined(child);
	buf_destroy(&stream.buf);
	mon_shm_done(desc);
}

const struct check_test ring_tests[] = {
	EACH(bytes_come_out_as_they_went_in), EACH(too_much_changes_nothing), EACH(the_ring_goes_round),
	EACH(corrupt_indices_are_told), EACH(bounds_come_from_private_memory),
	EACH(addresses_that_are_none_of_ours_are_told), EACH(two_processes_stream_under_the_lock), END
};
