/*
 * The test harness of the C suite: tests by name, once or once for each impl; other processes; skips that are told.
 * It knows nothing of shared memory.
 *
 * A failed CHECK ends the test; in a process made by in_child it ends that process, and with it the test.
 */
#ifndef CHECK_H
#define CHECK_H

#include <monitor/monitor.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct check_test {
	const char	*name;
	void		(*once)(void);
	void		(*each)(mon_shm_impl impl);	/* run for AUTO, POSIX and SYSV */
};

#define ONCE(test)	{ #test, test, NULL }
#define EACH(test)	{ #test, NULL, test }
#define END		{ NULL, NULL, NULL }

extern const struct check_test buffer_tests[], descriptor_tests[], wire_tests[], lock_tests[], ring_tests[],
	end_tests[], message_tests[], death_tests[], argument_tests[], cancel_tests[];

_Noreturn void check_failed(const char *file, int line, const char *what, long found);
_Noreturn void check_skip(const char *reason);

/* Ends the test unless the condition holds. */
#define CHECK(condition) \
	do { if (!(condition)) check_failed(__FILE__, __LINE__, #condition, errno); } while (0)
/* Ends the test unless the two integers are equal, and tells the first. */
#define EQUAL(found, wanted) \
	do { \
		long found_ = (long)(found); \
		if (found_ != (long)(wanted)) \
			check_failed(__FILE__, __LINE__, #found " == " #wanted, found_); \
	} while (0)
/* Ends the test unless the call sets errno to this. */
#define SETS_ERRNO(call, wanted) \
	do { errno = 0; call; EQUAL(errno, wanted); } while (0)
/* Ends the test unless the call leaves errno alone. */
#define KEEPS_ERRNO(call)	do { errno = 12345; call; EQUAL(errno, 12345); } while (0)

/* A child process that runs `work`, and exits with 0 if no CHECK in it failed. */
pid_t in_child(void (*work)(void *), void *argument);
/* Waits until it ended, and ends the test unless it exited with 0. */
void joined(pid_t child);
/* Kills it by SIGKILL and waits for that. */
void killed(pid_t child);
/* A connected pair of Unix stream sockets. */
void socket_pair(int pair[2]);
/* One byte through a socket: an order, or news. */
void tell(int socket);
void await(int socket);
/* Milliseconds of CLOCK_MONOTONIC. */
long now_ms(void);
/* How many times slower things are here than on bare metal (under valgrind), as the runner was told. */
int slowness(void);

/* A segment for peers of our own uid. Ends the test if there is none. */
mon_shm_desc *segment(size_t size, mon_shm_impl impl);
/* The same segment attached once more, by this process. */
mon_shm_desc *attached(mon_shm_desc *master);

#define SIZE	((size_t)65536)

#endif
