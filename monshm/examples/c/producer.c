/*
 * The producer: makes a segment, writes its descriptor to stdout, and puts samples into the ring. Run it as
 *
 *     ./producer 10000 | ./consumer
 *
 * Compile each with
 *
 *     cc producer.c -o producer $(pkg-config --cflags --libs monshm) \
 *         -Wl,-rpath,$(pkg-config --variable=libdir monshm)
 *
 * The run path lets the loader find libmonshm.so where it was installed; LD_LIBRARY_PATH does as well.
 *
 * Here a pipe carries the descriptor; a socket, or any other way to the same user, does as well.
 */
#include <monitor/monitor.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sample.h"

static int failed(const char *what, int error)
{
	fprintf(stderr, "producer: %s: %s (%s)\n", what, strerror(error), mon_shm_strerror());
	return 1;
}

/* Appends one sample, waiting for room. A consumer that takes none for 10 s has gone. */
static int put(mon_shm_desc *desc, const struct sample *sample)
{
	mon_shm_rbuf *ring = &desc->header->rbuf;

	for (int tries = 0; tries < 10000; tries++) {
		int error = mon_shm_lock(desc);

		if (error)
			return error;
		if (mon_shm_rbuf_avail(ring) >= sizeof *sample) {
			mon_shm_rbuf_append(ring, desc->header, (void *)sample, sizeof *sample);
			return mon_shm_unlock(desc);
		}
		error = mon_shm_unlock(desc);
		if (error)
			return error;
		usleep(1000);
	}
	return ETIMEDOUT;
}

/* Waits until the consumer has taken everything, so that it has attached for sure. */
static int drained(mon_shm_desc *desc)
{
	for (int tries = 0; tries < 10000; tries++) {
		size_t left;
		int error = mon_shm_lock(desc);

		if (error)
			return error;
		left = mon_shm_rbuf_len(&desc->header->rbuf);
		mon_shm_unlock(desc);
		if (left == 0)
			return 0;
		usleep(1000);
	}
	return ETIMEDOUT;
}

int main(int argc, char **argv)
{
	uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
	struct sample sample = { 0, 0.0 };
	mon_shm_desc *desc;
	mon_buffer buf;
	int error;

	/* NULL: for any process of our own user. */
	desc = mon_shm_new(SEGMENT_SIZE, NULL, MON_SHM_IMPL_AUTO);
	if (!desc)
		return failed("mon_shm_new", errno);

	buf_init(&buf);
	error = mon_shm_encode(desc, &buf);
	if (error)
		return failed("mon_shm_encode", error);
	if (write(STDOUT_FILENO, buf_start(&buf), buf_len(&buf)) != (ssize_t)buf_len(&buf))
		return failed("write", errno);
	buf_destroy(&buf);
	close(STDOUT_FILENO);

	for (sample.number = 1; sample.number <= count && !error; sample.number++) {
		sample.value = (double)sample.number / 2;
		error = put(desc, &sample);
	}
	if (!error) {
		sample.number = 0;
		error = put(desc, &sample);
	}
	if (!error)
		error = drained(desc);
	if (error)
		failed("the ring", error);
	mon_shm_done(desc);
	return error != 0;
}
