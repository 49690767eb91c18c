/* The lock, of every kind: threads and processes exclude each other, and every misuse is told. */
#include "check.h"

#include <pthread.h>

static const mon_shm_lock_kind kinds[] = {
	MON_SHM_LOCK_FUTEX, MON_SHM_LOCK_PTHREAD_MUTEX, MON_SHM_LOCK_SEMAPHORE, MON_SHM_LOCK_SYSV_SEM
};

/* Runs `test` with a segment of each lock that the impl has; counts them. */
static void with_each_kind(mon_shm_impl impl, void (*test)(mon_shm_desc *))
{
	int made = 0;

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		bool has = impl == MON_SHM_IMPL_SYSV ?
			kinds[i] == MON_SHM_LOCK_FUTEX || kinds[i] == MON_SHM_LOCK_SYSV_SEM :
			kinds[i] != MON_SHM_LOCK_SYSV_SEM;
		mon_shm_desc *desc;

		EQUAL(mon_shm_set_lock_kind(kinds[i]), 0);
		errno = 0;
		desc = mon_shm_new(SIZE, NULL, impl == MON_SHM_IMPL_AUTO ? MON_SHM_IMPL_POSIX : impl);
		EQUAL(mon_shm_set_lock_kind(MON_SHM_LOCK_DEFAULT), 0);
		if (!has) {
			CHECK(desc == NULL);
			EQUAL(errno, ENOTSUP);
			continue;
		}
		CHECK(desc != NULL);
		CHECK(desc->lock_kind == kinds[i]);
		test(desc);
		mon_shm_done(desc);
		made++;
	}
	EQUAL(made, impl == MON_SHM_IMPL_SYSV ? 2 : 3);
}

static void misuse(mon_shm_desc *desc)
{
	EQUAL(mon_shm_unlock(desc), EPERM);
	EQUAL(mon_shm_lock(desc), 0);
	EQUAL(mon_shm_lock(desc), EDEADLK);
	EQUAL(mon_shm_lock_timeout(desc, 0), EDEADLK);
	EQUAL(mon_shm_trylock(desc), EAGAIN);
	EQUAL(mon_shm_owner_died(desc), 0);
	EQUAL(mon_shm_unlock(desc), 0);
	EQUAL(mon_shm_unlock(desc), EPERM);
	EQUAL(mon_shm_trylock(desc), 0);
	EQUAL(mon_shm_unlock(desc), 0);
	EQUAL(mon_shm_lock_timeout(desc, 1000), 0);
	EQUAL(mon_shm_unlock(desc), 0);
}

static void misuse_is_told(mon_shm_impl impl)
{
	with_each_kind(impl, misuse);
}

static void an_unknown_kind_is_refused(void)
{
	EQUAL(mon_shm_set_lock_kind((mon_shm_lock_kind)5), EINVAL);
	EQUAL(mon_shm_set_lock_kind((mon_shm_lock_kind)-1), EINVAL);
}

struct held {
	mon_shm_desc	*desc;
	bool		taken;
};

static void *try_while_held(void *argument)
{
	struct held *held = argument;
	long begin = now_ms();

	EQUAL(mon_shm_trylock(held->desc), EAGAIN);
	EQUAL(mon_shm_unlock(held->desc), EPERM);
	EQUAL(mon_shm_lock_timeout(held->desc, 50), ETIMEDOUT);
	CHECK(now_ms() - begin >= 50);
	EQUAL(mon_shm_lock(held->desc), 0);
	held->taken = true;
	EQUAL(mon_shm_unlock(held->desc), 0);
	return NULL;
}

static void threads_wait(mon_shm_desc *desc)
{
	struct held held = { desc, false };
	pthread_t thread;

	EQUAL(mon_shm_lock(desc), 0);
	EQUAL(pthread_create(&thread, NULL, try_while_held, &held), 0);
	usleep(200 * 1000);
	CHECK(!held.taken);
	EQUAL(mon_shm_unlock(desc), 0);
	EQUAL(pthread_join(thread, NULL), 0);
	CHECK(held.taken);
}

static void another_thread_waits(mon_shm_impl impl)
{
	with_each_kind(impl, threads_wait);
}

enum { WORKERS = 3, TURNS = 400 };

static void *count_up(void *argument)
{
	mon_shm_desc *desc = argument;
	volatile long *counter = mon_shm_addr(desc, desc->orig_size / 2);

	for (int i = 0; i < TURNS; i++) {
		EQUAL(mon_shm_lock(desc), 0);
		*counter = *counter + 1;
		EQUAL(mon_shm_unlock(desc), 0);
	}
	return NULL;
}

static void count_up_attached(void *argument)
{
	mon_shm_desc *desc = mon_shm_decode(argument, SIZE);

	CHECK(desc != NULL);
	count_up(desc);
	mon_shm_done(desc);
}

static void count_in_all(mon_shm_desc *desc)
{
	pthread_t threads[WORKERS];
	pid_t children[WORKERS];
	mon_buffer bufs[WORKERS];

	for (int i = 0; i < WORKERS; i++) {
		buf_init(&bufs[i]);
		EQUAL(mon_shm_encode(desc, &bufs[i]), 0);
		children[i] = in_child(count_up_attached, &bufs[i]);
	}
	for (int i = 0; i < WORKERS; i++)
		EQUAL(pthread_create(&threads[i], NULL, count_up, desc), 0);
	for (int i = 0; i < WORKERS; i++) {
		EQUAL(pthread_join(threads[i], NULL), 0);
		joined(children[i]);
		buf_destroy(&bufs[i]);
	}
	EQUAL(*(volatile long *)mon_shm_addr(desc, desc->orig_size / 2), 2 * WORKERS * TURNS);
}

static void threads_and_processes_exclude_each_other(mon_shm_impl impl)
{
	with_each_kind(impl, count_in_all);
}

struct holder {
	mon_buffer	buf;
	int		socket;
};

static void hold_until_told(void *argument)
{
	struct holder *holder = argument;
	mon_shm_desc *desc = mon_shm_decode(&holder->buf, SIZE);

	CHECK(desc != NULL);
	EQUAL(mon_shm_lock(desc), 0);
	tell(holder->socket);
	await(holder->socket);
	EQUAL(mon_shm_unlock(desc), 0);
	mon_shm_done(desc);
}

static void another_process_holds(mon_shm_desc *desc)
{
	struct holder holder;
	int pair[2];
	pid_t child;
	void *ptr;

	socket_pair(pair);
	buf_init(&holder.buf);
	EQUAL(mon_shm_encode(desc, &holder.buf), 0);
	holder.socket = pair[1];
	child = in_child(hold_until_told, &holder);
	await(pair[0]);
	EQUAL(mon_shm_trylock(desc), EAGAIN);
	EQUAL(mon_shm_lock_timeout(desc, 20), ETIMEDOUT);
	EQUAL(mon_shm_unlock(desc), EPERM);
	tell(pair[0]);
	EQUAL(mon_shm_data_alloc(desc, 16, &ptr), 0);	/* waits for the lock, and lets go of it */
	EQUAL(mon_shm_lock(desc), 0);
	EQUAL(mon_shm_owner_died(desc), 0);
	EQUAL(mon_shm_unlock(desc), 0);
	joined(child);
	buf_destroy(&holder.buf);
	close(pair[0]);
	close(pair[1]);
}

static void another_process_waits_and_is_waited_for(mon_shm_impl impl)
{
	with_each_kind(impl, another_process_holds);
}

static void done_while_holding_lets_go(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer = attached(desc);

	EQUAL(mon_shm_lock(desc), 0);
	EQUAL(mon_shm_trylock(peer), EAGAIN);
	mon_shm_done(desc);
	EQUAL(mon_shm_trylock(peer), 0);
	EQUAL(mon_shm_owner_died(peer), 0);
	EQUAL(mon_shm_unlock(peer), 0);
	mon_shm_done(peer);
}

const struct check_test lock_tests[] = {
	EACH(misuse_is_told), ONCE(an_unknown_kind_is_refused), EACH(another_thread_waits),
	EACH(threads_and_processes_exclude_each_other), EACH(another_process_waits_and_is_waited_for),
	EACH(done_while_holding_lets_go), END
};
