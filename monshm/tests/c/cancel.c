/* Threads that are cancelled: no call of the library is a cancellation point, and each ends as usual. */
#include "check.h"

#include <pthread.h>

struct call {
	void		(*make)(struct call *);
	mon_shm_desc	*desc;
	mon_buffer	*bytes;
	int		socket;
	int		came_back;
};

static void *cancelled(void *argument)
{
	struct call *call = argument;

	pthread_cancel(pthread_self());
	call->make(call);
	call->came_back = 1;
	pthread_testcancel();
	return NULL;
}

/* Makes a call in a thread that was cancelled before. */
static void while_cancelled(struct call *call, void (*make)(struct call *))
{
	pthread_t	thread;
	void		*result;

	call->make = make;
	call->came_back = 0;
	EQUAL(pthread_create(&thread, NULL, cancelled, call), 0);
	EQUAL(pthread_join(thread, &result), 0);
	CHECK(call->came_back);
	CHECK(result == PTHREAD_CANCELED);
}

static mon_shm_impl wanted;

static void make_new(struct call *call)
{
	call->desc = mon_shm_new(SIZE, NULL, wanted);
}

static void make_large(struct call *call)
{
	call->desc = mon_shm_new((size_t)80 << 20, NULL, wanted);
}

static void make_encode(struct call *call)
{
	mon_shm_encode(call->desc, call->bytes);
}

static void make_decode(struct call *call)
{
	call->desc = mon_shm_decode(call->bytes, SIZE);
}

static void make_mismatch(struct call *call)
{
	CHECK(!mon_shm_decode(call->bytes, 4096));
	CHECK(*mon_shm_strerror());
}

static void make_done(struct call *call)
{
	mon_shm_done(call->desc);
}

static void make_send(struct call *call)
{
	EQUAL(mon_shm_send(call->desc, call->socket), 0);
}

static void make_recv(struct call *call)
{
	call->desc = mon_shm_recv(call->socket, SIZE);
}

static void make_wait(struct call *call)
{
	EQUAL(mon_shm_lock_timeout(call->desc, 50), ETIMEDOUT);
}

static void make_read(struct call *call)
{
	size_t	count;
	char	byte;

	EQUAL(mon_shm_reader_open(call->desc), 0);
	EQUAL(mon_shm_read(call->desc, &byte, 1, 50, &count), ETIMEDOUT);
	EQUAL(mon_shm_reader_close(call->desc), 0);
}

static void segments_come_and_go(mon_shm_impl impl)
{
	mon_buffer	bytes;
	struct call	call = { .bytes = &bytes }, peer = { .bytes = &bytes };

	wanted = impl;
	buf_init(&bytes);
	while_cancelled(&call, make_large);
	if (call.desc)
		while_cancelled(&call, make_done);
	while_cancelled(&call, make_new);
	CHECK(call.desc);
	while_cancelled(&call, make_encode);
	while_cancelled(&peer, make_mismatch);
	buf_destroy(&bytes);
	buf_init(&bytes);
	while_cancelled(&call, make_encode);
	while_cancelled(&peer, make_decode);
	CHECK(peer.desc);
	while_cancelled(&call, make_read);
	while_cancelled(&peer, make_done);
	while_cancelled(&call, make_done);
	buf_destroy(&bytes);
}

static void receive(void *socket)
{
	mon_shm_desc *desc = mon_shm_recv(*(int *)socket, SIZE);

	CHECK(desc);
	mon_shm_done(desc);
}

static void hand_out(void *socket)
{
	mon_shm_desc *desc = segment(SIZE, wanted);

	EQUAL(mon_shm_send(desc, *(int *)socket), 0);
	mon_shm_done(desc);
}

static void hand_over(mon_shm_impl impl)
{
	struct call	call = { .desc = segment(SIZE, impl) };
	int		pair[2];
	pid_t		child;

	wanted = impl;
	socket_pair(pair);
	call.socket = pair[0];
	child = in_child(receive, &pair[1]);
	while_cancelled(&call, make_send);
	joined(child);
	mon_shm_done(call.desc);
	child = in_child(hand_out, &pair[1]);
	while_cancelled(&call, make_recv);
	joined(child);
	CHECK(call.desc);
	mon_shm_done(call.desc);
	close(pair[0]);
	close(pair[1]);
}

static void waits_for_each_lock(void)
{
	static const struct { mon_shm_impl impl; mon_shm_lock_kind kind; } locks[] = {
		{ MON_SHM_IMPL_POSIX, MON_SHM_LOCK_FUTEX }, { MON_SHM_IMPL_POSIX, MON_SHM_LOCK_PTHREAD_MUTEX },
		{ MON_SHM_IMPL_POSIX, MON_SHM_LOCK_SEMAPHORE }, { MON_SHM_IMPL_SYSV, MON_SHM_LOCK_SYSV_SEM },
	};

	for (size_t i = 0; i < sizeof locks / sizeof *locks; i++) {
		EQUAL(mon_shm_set_lock_kind(locks[i].kind), 0);
		mon_shm_desc *desc = segment(SIZE, locks[i].impl), *peer = attached(desc);
		struct call call = { .desc = desc };

		EQUAL(mon_shm_lock(peer), 0);
		while_cancelled(&call, make_wait);
		EQUAL(mon_shm_unlock(peer), 0);
		mon_shm_done(peer);
		mon_shm_done(desc);
	}
	EQUAL(mon_shm_set_lock_kind(MON_SHM_LOCK_DEFAULT), 0);
}

const struct check_test cancel_tests[] = {
	EACH(segments_come_and_go), EACH(hand_over), ONCE(waits_for_each_lock), END
};
