/* Descriptors: made, described, counted, ended; addresses and common data. */
#include "check.h"

static void the_fields_are_truthful(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(5000, impl);
	mon_shm_header *header = desc->header;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	CHECK(desc->impl == (impl == MON_SHM_IMPL_AUTO ? MON_SHM_IMPL_POSIX : impl));
	EQUAL(desc->orig_size % page, 0);
	CHECK(desc->orig_size >= 5000 && desc->orig_size < 5000 + page);
	EQUAL(header->size, desc->orig_size);
	CHECK(header->cdata_begin >= sizeof(mon_shm_header) && header->cdata_begin == header->cdata_end);
	CHECK(header->cdata_end <= header->rbuf.begin && header->rbuf.begin < header->rbuf.end);
	EQUAL(header->rbuf.end, desc->orig_size);
	EQUAL(header->rbuf.head, header->rbuf.begin);
	EQUAL(header->rbuf.tail, header->rbuf.begin);
	CHECK(desc->is_master != 0 && desc->priv != NULL);
	EQUAL(desc->refcnt, 1);
	CHECK(desc->lock_kind == (desc->impl == MON_SHM_IMPL_SYSV ? MON_SHM_LOCK_SYSV_SEM : MON_SHM_LOCK_FUTEX));
	CHECK(mon_shm_addr(desc, 0) == (void *)header);
	mon_shm_done(desc);
}

static void a_peers_descriptor_is_truthful_too(mon_shm_impl impl)
{
	mon_shm_desc *master = segment(SIZE, impl), *peer = attached(master);

	CHECK(peer != master && peer->header != master->header);
	CHECK(peer->impl == master->impl && peer->lock_kind == master->lock_kind);
	EQUAL(peer->orig_size, master->orig_size);
	EQUAL(peer->is_master, 0);
	EQUAL(peer->refcnt, 1);
	EQUAL(peer->header->size, SIZE);
	mon_shm_done(peer);
	mon_shm_done(master);
}

static void what_cannot_be_made_is_told(mon_shm_impl impl)
{
	SETS_ERRNO(CHECK(mon_shm_new(0, NULL, impl) == NULL), EINVAL);
	SETS_ERRNO(CHECK(mon_shm_new(SIZE_MAX, NULL, impl) == NULL), EINVAL);
	SETS_ERRNO(CHECK(mon_shm_new(SIZE_MAX / 2, NULL, impl) == NULL), EINVAL);
	SETS_ERRNO(CHECK(mon_shm_new(SIZE, NULL, MON_SHM_IMPL_NONE) == NULL), ENOTSUP);
	SETS_ERRNO(CHECK(mon_shm_new(SIZE, NULL, (mon_shm_impl)7) == NULL), EINVAL);
	CHECK(strstr(mon_shm_strerror(), "mon_shm_impl") != NULL);
}

static void unknown_pid_and_gid_are_accepted(mon_shm_impl impl)
{
	mon_ipc_creds creds = { MON_IPC_PID_UNKNOWN, geteuid(), MON_IPC_GID_UNKNOWN };
	mon_shm_desc *desc = mon_shm_new(SIZE, &creds, impl), *peer;

	CHECK(desc != NULL);
	peer = attached(desc);
	mon_shm_done(peer);
	mon_shm_done(desc);
}

static void references_are_counted(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl);
	char *bytes = mon_shm_addr(desc, 4096);

	KEEPS_ERRNO(mon_shm_ref(desc));
	KEEPS_ERRNO(mon_shm_ref(desc));
	EQUAL(desc->refcnt, 3);
	KEEPS_ERRNO(mon_shm_done(desc));
	mon_shm_done(desc);
	EQUAL(desc->refcnt, 1);
	bytes[0] = 1;		/* still mapped */
	EQUAL(mon_shm_lock(desc), 0);
	EQUAL(mon_shm_unlock(desc), 0);
	mon_shm_done(desc);
	SETS_ERRNO(mon_shm_done(desc), EINVAL);
	EQUAL(mon_shm_lock(desc), EINVAL);
}

static void methods_do_what_the_functions_do(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl);
	mon_buffer buf;

	EQUAL(desc->lock(desc), 0);
	EQUAL(desc->trylock(desc), EAGAIN);
	EQUAL(desc->lock(desc), EDEADLK);
	EQUAL(desc->unlock(desc), 0);
	EQUAL(desc->unlock(desc), EPERM);
	EQUAL(desc->trylock(desc), 0);
	EQUAL(mon_shm_unlock(desc), 0);
	buf_init(&buf);
	EQUAL(desc->encode(desc, &buf), 0);
	CHECK(buf_len(&buf) != 0);
	buf_destroy(&buf);
	mon_shm_ref(desc);
	KEEPS_ERRNO(desc->destroy(desc));	/* whatever the count is */
	EQUAL(mon_shm_lock(desc), EINVAL);
}

static void addresses_end_with_the_segment(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl);
	char *base = (char *)desc->header;

	errno = 12345;
	CHECK(mon_shm_addr(desc, 0) == base);
	CHECK(mon_shm_addr(desc, SIZE - 1) == base + SIZE - 1);
	EQUAL(errno, 12345);
	SETS_ERRNO(CHECK(mon_shm_addr(desc, SIZE) == NULL), EINVAL);
	SETS_ERRNO(CHECK(mon_shm_addr(desc, SIZE_MAX) == NULL), EINVAL);
	CHECK(MON_SHM_ADDR(desc, rbuf.begin) == base + desc->header->rbuf.begin);
	CHECK(MON_SHM_ADDR(desc, cdata_begin) == base + desc->header->cdata_begin);
	mon_shm_done(desc);
}

static void common_data_is_aligned_and_ends(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl);
	char *base = (char *)desc->header, *before = base + desc->header->cdata_begin;
	void *ptr;
	uint64_t begin;

	for (size_t size = 1; size < 100; size += 7) {
		EQUAL(mon_shm_data_alloc(desc, size, &ptr), 0);
		EQUAL((uintptr_t)ptr % 16, 0);
		CHECK((char *)ptr >= before);
		before = (char *)ptr + size;
		CHECK((uint64_t)(before - base) == desc->header->cdata_end);
		CHECK(desc->header->cdata_end <= desc->header->rbuf.begin);
		memset(ptr, 0xff, size);
	}
	EQUAL(mon_shm_lock(desc), 0);		/* a caller that holds the lock */
	EQUAL(mon_shm_data_alloc(desc, 16, &ptr), 0);
	EQUAL(mon_shm_unlock(desc), 0);
	ptr = &begin;
	EQUAL(mon_shm_data_alloc(desc, SIZE, &ptr), ENOSPC);
	EQUAL(mon_shm_data_alloc(desc, SIZE_MAX, &ptr), ENOSPC);
	EQUAL(mon_shm_data_alloc(desc, 0, &ptr), EINVAL);
	EQUAL(mon_shm_data_alloc(desc, 16, NULL), EINVAL);
	CHECK(ptr == &begin);
	mon_shm_rbuf_append(&desc->header->rbuf, desc->header, (char[]){ "x" }, 1);
	begin = desc->header->rbuf.begin;
	EQUAL(mon_shm_data_alloc(desc, 4096, &ptr), ENOSPC);	/* the ring is in use */
	EQUAL(desc->header->rbuf.begin, begin);
	mon_shm_done(desc);
}

static void a_size_scribbled_by_the_peer_changes_nothing(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer = attached(desc);
	static const uint64_t bad[] = { 0, 1, SIZE - 1, SIZE * 2, UINT64_MAX };
	void *ptr;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		peer->header->size = bad[i];
		EQUAL(desc->orig_size, SIZE);
		CHECK(mon_shm_addr(desc, SIZE - 1) != NULL);
		CHECK(mon_shm_addr(desc, SIZE) == NULL);
		EQUAL(mon_shm_lock(desc), 0);
		KEEPS_ERRNO(mon_shm_rbuf_append(&desc->header->rbuf, desc->header, (char[]){ "abc" }, 3));
		EQUAL(mon_shm_unlock(desc), 0);
		EQUAL(mon_shm_data_alloc(desc, 16, &ptr), i < 5 && desc->header->cdata_end + 16 <=
		      desc->header->rbuf.begin ? 0 : ENOSPC);
		EQUAL(desc->header->size, bad[i]);
	}
	mon_shm_done(peer);
	mon_shm_done(desc);
}

static void hundreds_at_a_time(mon_shm_impl impl)
{
	enum { MANY = 300 };
	static mon_shm_desc *all[MANY];

	for (int turn = 0; turn < 2; turn++) {
		for (uint32_t i = 0; i < MANY; i++) {
			all[i] = segment(4096, impl);
			mon_shm_rbuf_append(&all[i]->header->rbuf, all[i]->header, &i, sizeof i);
		}
		for (uint32_t i = 0, found; i < MANY; i++) {
			KEEPS_ERRNO(mon_shm_rbuf_read(&all[i]->header->rbuf, all[i]->header, &found, sizeof found));
			EQUAL(found, i);
			mon_shm_done(all[i]);
			EQUAL(mon_shm_trylock(all[i]), EINVAL);
		}
	}
}

const struct check_test descriptor_tests[] = {
	EACH(the_fields_are_truthful), EACH(a_peers_descriptor_is_truthful_too), EACH(what_cannot_be_made_is_told),
	EACH(unknown_pid_and_gid_are_accepted), EACH(references_are_counted), EACH(methods_do_what_the_functions_do),
	EACH(addresses_end_with_the_segment), EACH(common_data_is_aligned_and_ends),
	EACH(a_size_scribbled_by_the_peer_changes_nothing), EACH(hundreds_at_a_time), END
};
