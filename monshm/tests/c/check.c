/*
 * Runs the tests whose names contain one of the arguments, or all, and closes with a line as cargo's test runner does:
 * `test result: ok. N passed; M failed; 0 ignored`. A test that skips itself passes, and says so in a line
 * `SKIP NAME REASON` in the file that MONSHM_SKIP_LOG names, or on stderr.
 */
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/un.h>
#include <time.h>

static jmp_buf out;
static bool is_child;
static char current[128];

enum { PASSED = 0, FAILED = 1, SKIPPED = 2 };

void check_failed(const char *file, int line, const char *what, long found)
{
	fprintf(stderr, "%s:%d: %s: not so: %s (%ld: %s); monshm: %s\n", file, line, current, what, found,
		strerror((int)found), mon_shm_strerror());
	if (is_child)
		_exit(1);
	longjmp(out, FAILED);
}

void check_skip(const char *reason)
{
	const char *log = getenv("MONSHM_SKIP_LOG");
	FILE *file = log ? fopen(log, "a") : NULL;

	fprintf(file ? file : stderr, "SKIP c::%s %s\n", current, reason);
	if (file)
		fclose(file);
	longjmp(out, SKIPPED);
}

pid_t in_child(void (*work)(void *), void *argument)
{
	pid_t child;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		is_child = true;
		alarm((unsigned)(60 * slowness()));
		work(argument);
		_exit(0);
	}
	CHECK(child > 0);
	return child;
}

void joined(pid_t child)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status));
	EQUAL(WEXITSTATUS(status), 0);
}

void killed(pid_t child)
{
	int status;

	CHECK(kill(child, SIGKILL) == 0);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status));
}

void socket_pair(int pair[2])
{
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
}

void tell(int socket)
{
	CHECK(write(socket, "x", 1) == 1);
}

void await(int socket)
{
	char byte;

	CHECK(read(socket, &byte, 1) == 1);
}

long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int slowness(void)
{
	const char *told = getenv("MONSHM_SLOWNESS");

	return told ? atoi(told) : 1;
}

mon_shm_desc *segment(size_t size, mon_shm_impl impl)
{
	mon_shm_desc *desc = mon_shm_new(size, NULL, impl);

	CHECK(desc != NULL);
	return desc;
}

mon_shm_desc *attached(mon_shm_desc *master)
{
	mon_buffer buf;
	mon_shm_desc *desc;

	buf_init(&buf);
	EQUAL(mon_shm_encode(master, &buf), 0);
	desc = mon_shm_decode(&buf, master->orig_size);
	CHECK(desc != NULL);
	buf_destroy(&buf);
	return desc;
}

static bool wanted(int argc, char **argv)
{
	if (argc < 2)
		return true;
	for (int i = 1; i < argc; i++)
		if (strstr(current, argv[i]))
			return true;
	return false;
}

static int run(const struct check_test *test, mon_shm_impl impl)
{
	int outcome = setjmp(out);

	if (outcome == PASSED) {
		alarm((unsigned)(60 * slowness()));
		if (test->each)
			test->each(impl);
		else
			test->once();
	}
	alarm(0);
	printf("test c::%s ... %s\n", current, outcome == FAILED ? "FAILED" : "ok");
	fflush(stdout);
	return outcome;
}

int main(int argc, char **argv)
{
	static const struct { const char *name; const struct check_test *tests; } files[] = {
		{ "buffer", buffer_tests }, { "descriptor", descriptor_tests }, { "wire", wire_tests },
		{ "lock", lock_tests }, { "ring", ring_tests }, { "end", end_tests }, { "message", message_tests },
		{ "death", death_tests }, { "argument", argument_tests },
		{ "cancel", cancel_tests },
	};
	static const char *const names[] = { "auto", "posix", "sysv" };
	int passed = 0, failed = 0;

	signal(SIGPIPE, SIG_IGN);
	for (size_t f = 0; f < sizeof files / sizeof *files; f++)
		for (const struct check_test *test = files[f].tests; test->name; test++)
			for (int impl = MON_SHM_IMPL_AUTO; impl <= (test->each ? MON_SHM_IMPL_SYSV : 0); impl++) {
				snprintf(current, sizeof current, "%s::%s%s%s", files[f].name, test->name,
					 test->each ? "::" : "", test->each ? names[impl] : "");
				if (!wanted(argc, argv))
					continue;
				if (run(test, (mon_shm_impl)impl) == FAILED)
					failed++;
				else
					passed++;
			}
	printf("\ntest result: %s. %d passed; %d failed; 0 ignored\n", failed ? "FAILED" : "ok", passed, failed);
	return failed || !passed;
}
