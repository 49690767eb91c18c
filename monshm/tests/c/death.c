/* SIGKILL: of the holder of the lock, of an end of the ring, of the creator; and nothing is left behind. */
#include "check.h"

#include <dirent.h>

struct victim {
	mon_buffer	buf;
	int		socket;
	int		role;		/* 0: holds the lock; 1: has the writing end */
};

static void live_until_killed(void *argument)
{
	struct victim *victim = argument;
	mon_shm_desc *desc = mon_shm_decode(&victim->buf, SIZE);

	CHECK(desc != NULL);
	if (victim->role == 0) {
		EQUAL(mon_shm_lock(desc), 0);
	} else {
		EQUAL(mon_shm_writer_open(desc), 0);
		EQUAL(mon_shm_write(desc, "will", 4, 0, NULL), 0);
	}
	tell(victim->socket);
	for (;;)
		pause();
}

static pid_t start(mon_shm_desc *desc, int role, int pair[2], struct victim *victim)
{
	pid_t child;

	socket_pair(pair);
	buf_init(&victim->buf);
	EQUAL(mon_shm_encode(desc, &victim->buf), 0);
	victim->socket = pair[1];
	victim->role = role;
	child = in_child(live_until_killed, victim);
	await(pair[0]);
	close(pair[0]);
	close(pair[1]);
	buf_destroy(&victim->buf);
	return child;
}

static void a_killed_holder_is_told(mon_shm_impl impl)
{
	static const mon_shm_lock_kind kinds[] = {
		MON_SHM_LOCK_FUTEX, MON_SHM_LOCK_PTHREAD_MUTEX, MON_SHM_LOCK_SEMAPHORE, MON_SHM_LOCK_SYSV_SEM
	};
	struct victim victim;
	int pair[2], tried = 0;

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		mon_shm_desc *desc;
		pid_t child;
		long begin;

		EQUAL(mon_shm_set_lock_kind(kinds[i]), 0);
		desc = mon_shm_new(SIZE, NULL, impl);
		EQUAL(mon_shm_set_lock_kind(MON_SHM_LOCK_DEFAULT), 0);
		if (!desc)
			continue;
		child = start(desc, 0, pair, &victim);
		EQUAL(mon_shm_trylock(desc), EAGAIN);
		killed(child);
		begin = now_ms();
		EQUAL(mon_shm_lock(desc), 0);
		CHECK(now_ms() - begin < 2000 * slowness());
		EQUAL(mon_shm_owner_died(desc), 1);
		KEEPS_ERRNO(mon_shm_rbuf_append(&desc->header->rbuf, desc->header, (char[]){ "x" }, 1));
		EQUAL(mon_shm_unlock(desc), 0);
		EQUAL(mon_shm_owner_died(desc), 0);	/* nothing is held */
		EQUAL(mon_shm_lock(desc), 0);
		EQUAL(mon_shm_owner_died(desc), 0);	/* cleared by the next clean one */
		EQUAL(mon_shm_unlock(desc), 0);
		mon_shm_done(desc);
		tried++;
	}
	CHECK(tried >= 2);
}

static void trylock_takes_a_killed_holders_lock_within_two_seconds(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl);
	struct victim victim;
	int pair[2], code;
	long begin;

	killed(start(desc, 0, pair, &victim));
	begin = now_ms();
	while ((code = mon_shm_trylock(desc)) == EAGAIN && now_ms() - begin < 2000 * slowness())
		usleep(1000);
	EQUAL(code, 0);
	EQUAL(mon_shm_owner_died(desc), 1);
	EQUAL(mon_shm_unlock(desc), 0);
	mon_shm_done(desc);
}

static void a_killed_writers_bytes_stay_and_its_end_is_free(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl);
	struct victim victim;
	char bytes[8];
	size_t count;
	int pair[2];

	EQUAL(mon_shm_reader_open(desc), 0);
	killed(start(desc, 1, pair, &victim));
	EQUAL(mon_shm_read(desc, bytes, sizeof bytes, 2000, &count), 0);
	EQUAL(count, 4);
	EQUAL(mon_shm_read(desc, bytes, sizeof bytes, 2000, &count), 0);
	EQUAL(count, 0);
	EQUAL(mon_shm_writer_open(desc), 0);
	EQUAL(mon_shm_write(desc, "more", 4, 0, NULL), 0);
	EQUAL(mon_shm_read(desc, bytes, sizeof bytes, 2000, &count), 0);
	EQUAL(count, 4);
	mon_shm_done(desc);
}

/* Names in /dev/shm and lines of the System V tables that belong to us. */
static int objects(void)
{
	static const char *const tables[] = { "/proc/sysvipc/shm", "/proc/sysvipc/sem" };
	DIR *folder = opendir("/dev/shm");
	char line[1024];
	int count = 0;

	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	for (size_t i = 0; i < 2; i++) {
		FILE *table = fopen(tables[i], "r");

		while (table && fgets(line, sizeof line, table))
			count++;
		if (table)
			fclose(table);
	}
	return count;
}

struct creator {
	int		socket;
	mon_shm_impl	impl;
};

static void create_and_be_killed(void *argument)
{
	struct creator *creator = argument;
	mon_shm_desc *desc = segment(SIZE, creator->impl);

	EQUAL(mon_shm_send(desc, creator->socket), 0);
	EQUAL(mon_shm_lock(desc), 0);
	tell(creator->socket);
	for (;;)
		pause();
}

static void a_killed_creator_leaves_nothing_behind_the_survivors_done(mon_shm_impl impl)
{
	struct creator creator = { .impl = impl };
	int pair[2], least = 1 << 30;
	mon_shm_desc *desc;
	pid_t child;

	socket_pair(pair);
	creator.socket = pair[1];
	for (int turn = 0; turn < 5; turn++) {
		int before = objects();

		child = in_child(create_and_be_killed, &creator);
		CHECK((desc = mon_shm_recv(pair[0], SIZE)) != NULL);
		await(pair[0]);
		killed(child);
		EQUAL(mon_shm_lock(desc), 0);
		EQUAL(mon_shm_owner_died(desc), 1);
		EQUAL(mon_shm_unlock(desc), 0);
		mon_shm_done(desc);
		/* Others may make objects on this machine meanwhile: what is left each time is ours. */
		if (objects() - before < least)
			least = objects() - before;
	}
	CHECK(least <= 0);
	close(pair[0]);
	close(pair[1]);
}

const struct check_test death_tests[] = {
	EACH(a_killed_holder_is_told), EACH(trylock_takes_a_killed_holders_lock_within_two_seconds),
	EACH(a_killed_writers_bytes_stay_and_its_end_is_free),
	EACH(a_killed_creator_leaves_nothing_behind_the_survivors_done), END
};
