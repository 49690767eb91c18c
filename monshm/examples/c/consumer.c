/*
 * The consumer: reads a descriptor from stdin, attaches, and adds up the samples in the ring. See producer.c.
 */
#include <monitor/monitor.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sample.h"

static int failed(const char *what, int error)
{
	fprintf(stderr, "consumer: %s: %s (%s)\n", what, strerror(error), mon_shm_strerror());
	return 1;
}

/* Takes one sample, waiting for it. A producer that sends none for 10 s has gone. */
static int take(mon_shm_desc *desc, struct sample *sample)
{
	mon_shm_rbuf *ring = &desc->header->rbuf;

	for (int tries = 0; tries < 10000; tries++) {
		int error = mon_shm_lock(desc);

		if (error)
			return error;
		if (mon_shm_owner_died(desc))
			fprintf(stderr, "consumer: the producer died while it held the lock; the ring is in order\n");
		if (mon_shm_rbuf_len(ring) >= sizeof *sample) {
			mon_shm_rbuf_read(ring, desc->header, sample, sizeof *sample);
			return mon_shm_unlock(desc);
		}
		error = mon_shm_unlock(desc);
		if (error)
			return error;
		usleep(1000);
	}
	return ETIMEDOUT;
}

int main(void)
{
	struct sample sample;
	mon_shm_desc *desc;
	mon_buffer buf;
	char bytes[512];
	ssize_t len;
	uint64_t count = 0;
	double sum = 0;
	int error;

	buf_init(&buf);
	while ((len = read(STDIN_FILENO, bytes, sizeof bytes)) > 0) {
		error = buf_append_data(&buf, bytes, (size_t)len);
		if (error)
			return failed("buf_append_data", error);
	}
	desc = mon_shm_decode(&buf, SEGMENT_SIZE);
	if (!desc)
		return failed("mon_shm_decode", errno);
	buf_destroy(&buf);

	while ((error = take(desc, &sample)) == 0 && sample.number != 0) {
		count++;
		sum += sample.value;
	}
	if (error)
		failed("the ring", error);
	mon_shm_done(desc);
	printf("%llu samples, sum %.1f\n", (unsigned long long)count, sum);
	return error != 0;
}
