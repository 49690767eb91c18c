/* Messages with file descriptors, credentials of a socket, and the hand-over of segments. */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/un.h>

static void messages_keep_their_edges(void)
{
	mon_buffer out, in;
	int pair[2], fd = -7;
	char bytes[8];

	socket_pair(pair);
	buf_init(&out);
	buf_init(&in);
	EQUAL(buf_append_data(&out, "first", 5), 0);
	EQUAL(mon_ipc_send_fd(pair[0], &out, -1), 0);
	EQUAL(buf_len(&out), 0);		/* consumed */
	EQUAL(mon_ipc_send_fd(pair[0], &out, -1), 0);	/* an empty one */
	EQUAL(buf_append_data(&out, "third", 5), 0);
	EQUAL(mon_ipc_send_fd(pair[0], &out, -1), 0);
	EQUAL(mon_ipc_recv_fd(pair[1], &in, &fd), 0);
	EQUAL(fd, -1);
	EQUAL(buf_len(&in), 5);
	EQUAL(mon_ipc_recv_fd(pair[1], &in, &fd), 0);
	EQUAL(buf_len(&in), 5);
	EQUAL(mon_ipc_recv_fd(pair[1], &in, &fd), 0);
	EQUAL(buf_len(&in), 10);		/* appended */
	EQUAL(buf_extract_data(&in, bytes, 5), 0);
	CHECK(memcmp(bytes, "first", 5) == 0 && memcmp(buf_start(&in), "third", 5) == 0);
	buf_destroy(&in);
	buf_destroy(&out);
	close(pair[0]);
	close(pair[1]);
}

static void a_file_descriptor_travels(void)
{
	mon_buffer out, in;
	int pair[2], ends[2], fd = -1;
	char byte;

	socket_pair(pair);
	CHECK(pipe(ends) == 0);
	buf_init(&out);
	buf_init(&in);
	EQUAL(buf_append_data(&out, "with a pipe", 11), 0);
	EQUAL(mon_ipc_send_fd(pair[0], &out, ends[1]), 0);
	close(ends[1]);
	EQUAL(mon_ipc_recv_fd(pair[1], &in, &fd), 0);
	EQUAL(buf_len(&in), 11);
	CHECK(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
	CHECK(write(fd, "x", 1) == 1 && read(ends[0], &byte, 1) == 1 && byte == 'x');
	close(fd);
	CHECK(read(ends[0], &byte, 1) == 0);		/* nobody else holds it */
	close(ends[0]);
	buf_destroy(&in);
	buf_destroy(&out);
	close(pair[0]);
	close(pair[1]);
}

static void *send_big(void *argument)
{
	mon_buffer out;
	static char big[300000];
	int socket = *(int *)argument;

	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (char)(i * 31);
	buf_init_full(&out, big, sizeof big);
	EQUAL(mon_ipc_send_fd(socket, &out, -1), 0);
	EQUAL(buf_len(&out), 0);
	buf_destroy(&out);
	return NULL;
}

static void a_message_may_be_longer_than_the_socket_holds(void)
{
	mon_buffer in;
	int pair[2], fd;
	pthread_t thread;

	socket_pair(pair);
	EQUAL(pthread_create(&thread, NULL, send_big, &pair[0]), 0);
	buf_init(&in);
	EQUAL(mon_ipc_recv_fd(pair[1], &in, &fd), 0);
	EQUAL(pthread_join(thread, NULL), 0);
	EQUAL(buf_len(&in), 300000);
	for (size_t i = 0; i < 300000; i++)
		CHECK(buf_start(&in)[i] == (char)(i * 31));
	buf_destroy(&in);
	close(pair[0]);
	close(pair[1]);
}

static void what_goes_wrong_with_messages_is_told(void)
{
	mon_buffer out, in;
	int pair[2], ends[2], fd = 3, file = open("/dev/null", O_RDWR | O_CLOEXEC);
	char *big = calloc(17, 1 << 20);
	char byte;

	socket_pair(pair);
	buf_init(&out);
	buf_init(&in);
	EQUAL(buf_append_data(&out, "bytes", 5), 0);
	EQUAL(mon_ipc_send_fd(-1, &out, -1), EBADF);
	EQUAL(mon_ipc_send_fd(9999, &out, -1), EBADF);
	EQUAL(mon_ipc_send_fd(file, &out, -1), ENOTSOCK);
	EQUAL(mon_ipc_send_fd(pair[0], &out, -2), EBADF);
	EQUAL(mon_ipc_send_fd(pair[0], NULL, -1), EINVAL);
	EQUAL(buf_len(&out), 5);
	EQUAL(mon_ipc_recv_fd(-1, &in, &fd), EBADF);
	EQUAL(fd, -1);
	EQUAL(mon_ipc_recv_fd(file, &in, &fd), ENOTSOCK);
	EQUAL(mon_ipc_recv_fd(pair[1], NULL, &fd), EINVAL);
	EQUAL(mon_ipc_recv_fd(pair[1], &in, NULL), EINVAL);

	/* No room: the message is lost, its file descriptor closed. */
	CHECK(pipe(ends) == 0);
	EQUAL(mon_ipc_send_fd(pair[0], &out, ends[1]), 0);
	close(ends[1]);
	buf_destroy(&in);
	EQUAL(buf_init_fixed(&in, 4), 0);
	EQUAL(mon_ipc_recv_fd(pair[1], &in, &fd), ENOSPC);
	EQUAL(fd, -1);
	EQUAL(buf_len(&in), 0);
	CHECK(read(ends[0], &byte, 1) == 0);
	close(ends[0]);

	buf_destroy(&out);
	CHECK(big != NULL);
	buf_init_full(&out, big, 17 << 20);
	EQUAL(mon_ipc_send_fd(pair[0], &out, -1), EMSGSIZE);
	buf_destroy(&out);
	free(big);
	CHECK(write(pair[0], "\xff\xff\xff\xff", 4) == 4);
	EQUAL(mon_ipc_recv_fd(pair[1], &in, &fd), EPROTO);
	close(pair[0]);
	EQUAL(mon_ipc_recv_fd(pair[1], &in, &fd), EPIPE);
	buf_init(&out);
	EQUAL(mon_ipc_send_fd(pair[1], &out, -1), EPIPE);
	buf_destroy(&out);
	buf_destroy(&in);
	close(pair[1]);
	close(file);
}

static void credentials_are_the_kernels(void)
{
	mon_ipc_creds creds = { -1, (uid_t)-1, (gid_t)-1 };
	int pair[2], file = open("/dev/null", O_RDWR | O_CLOEXEC), alone;

	socket_pair(pair);
	EQUAL(mon_ipc_peer_creds(pair[0], &creds), 0);
	EQUAL(creds.pid, getpid());
	EQUAL(creds.uid, geteuid());
	EQUAL(creds.gid, getegid());
	EQUAL(mon_ipc_peer_creds(pair[0], NULL), EINVAL);
	EQUAL(mon_ipc_peer_creds(-1, &creds), EBADF);
	EQUAL(mon_ipc_peer_creds(9999, &creds), EBADF);
	EQUAL(mon_ipc_peer_creds(file, &creds), ENOTSOCK);
	alone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(alone >= 0);
	EQUAL(mon_ipc_peer_creds(alone, &creds), ENOTCONN);
	close(alone);
	close(pair[0]);
	close(pair[1]);
	close(file);
}

static void receive_two(void *argument)
{
	int socket = *(int *)argument;
	mon_shm_desc *first = mon_shm_recv(socket, SIZE), *second = mon_shm_recv(socket, 4096);
	char bytes[3];

	CHECK(first != NULL && second != NULL);
	EQUAL(first->is_master, 0);
	EQUAL(second->orig_size, 4096);
	mon_shm_rbuf_read(&first->header->rbuf, first->header, bytes, 3);
	CHECK(memcmp(bytes, "one", 3) == 0);
	mon_shm_rbuf_read(&second->header->rbuf, second->header, bytes, 3);
	CHECK(memcmp(bytes, "two", 3) == 0);
	mon_shm_done(first);
	mon_shm_done(second);
}

static void one_socket_carries_several_segments(mon_shm_impl impl)
{
	mon_shm_desc *first = segment(SIZE, impl), *second = segment(4096, impl);
	int pair[2];
	pid_t child;

	socket_pair(pair);
	mon_shm_rbuf_append(&first->header->rbuf, first->header, (char[]){ "one" }, 3);
	mon_shm_rbuf_append(&second->header->rbuf, second->header, (char[]){ "two" }, 3);
	child = in_child(receive_two, &pair[1]);
	EQUAL(mon_shm_send(first, pair[0]), 0);
	EQUAL(mon_shm_send(second, pair[0]), 0);
	joined(child);
	EQUAL(mon_shm_send(first, -1), EBADF);
	close(pair[1]);
	EQUAL(mon_shm_send(first, pair[0]), EPIPE);
	close(pair[0]);
	mon_shm_done(first);
	mon_shm_done(second);
}

static void refuse_the_size(void *argument)
{
	SETS_ERRNO(CHECK(mon_shm_recv(*(int *)argument, SIZE * 2) == NULL), EMSGSIZE);
}

static void a_refusal_reaches_the_sender(mon_shm_impl impl)
{
	mon_shm_desc *desc = segment(SIZE, impl), *peer;
	int pair[2];
	pid_t child;

	socket_pair(pair);
	child = in_child(refuse_the_size, &pair[1]);
	EQUAL(mon_shm_send(desc, pair[0]), EMSGSIZE);
	joined(child);
	CHECK(write(pair[1], "MSHX....", 8) == 8);
	EQUAL(mon_shm_send(desc, pair[0]), EPROTO);
	close(pair[0]);
	close(pair[1]);
	SETS_ERRNO(CHECK(mon_shm_recv(-1, SIZE) == NULL), EBADF);
	peer = attached(desc);		/* still good */
	mon_shm_done(peer);
	mon_shm_done(desc);
}

static void nobody_answers_for_ever(void)
{
	mon_shm_desc *desc = segment(SIZE, MON_SHM_IMPL_AUTO);
	int pair[2];
	long begin = now_ms();

	socket_pair(pair);
	EQUAL(mon_shm_send(desc, pair[0]), ETIMEDOUT);
	CHECK(now_ms() - begin >= 4900);
	close(pair[0]);
	close(pair[1]);
	mon_shm_done(desc);
}

enum { STRANGER = 4711, THIRD = 4712 };

static void become(uid_t uid)
{
	CHECK(setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0);
}

struct visit {
	mon_buffer	buf;
	uid_t		uid;
	int		error;		/* 0: attach and answer */
};

static void visit(void *argument)
{
	struct visit *visit = argument;
	mon_shm_desc *desc;

	become(visit->uid);
	errno = 0;
	desc = mon_shm_decode(&visit->buf, SIZE);
	if (visit->error) {
		CHECK(desc == NULL);
		CHECK(errno == EPERM || errno == EACCES);
		return;
	}
	CHECK(desc != NULL);
	EQUAL(mon_shm_lock(desc), 0);
	mon_shm_rbuf_append(&desc->header->rbuf, desc->header, (char[]){ "hi" }, 2);
	EQUAL(mon_shm_unlock(desc), 0);
	mon_shm_done(desc);
}

static void another_user_attaches_by_bytes_and_a_third_does_not(mon_shm_impl impl)
{
	mon_ipc_creds creds = { MON_IPC_PID_UNKNOWN, STRANGER, MON_IPC_GID_UNKNOWN };
	struct visit guest = { .uid = STRANGER }, third = { .uid = THIRD, .error = 1 };
	mon_shm_desc *desc;

	if (geteuid() != 0)
		check_skip("needs root, to become other users");
	CHECK((desc = mon_shm_new(SIZE, &creds, impl)) != NULL);
	buf_init(&third.buf);
	EQUAL(mon_shm_encode(desc, &third.buf), 0);
	joined(in_child(visit, &third));
	buf_init(&guest.buf);
	EQUAL(mon_shm_encode(desc, &guest.buf), 0);
	joined(in_child(visit, &guest));
	EQUAL(mon_shm_rbuf_len(&desc->header->rbuf), 2);
	buf_destroy(&guest.buf);
	buf_destroy(&third.buf);
	mon_shm_done(desc);
}

static void a_lock_with_pointers_is_not_shared_with_strangers(void)
{
	mon_ipc_creds creds = { MON_IPC_PID_UNKNOWN, STRANGER, MON_IPC_GID_UNKNOWN };

	if (geteuid() == STRANGER)
		check_skip("this user is the one that stands for a stranger");
	EQUAL(mon_shm_set_lock_kind(MON_SHM_LOCK_PTHREAD_MUTEX), 0);
	SETS_ERRNO(CHECK(mon_shm_new(SIZE, &creds, MON_SHM_IMPL_POSIX) == NULL), EPERM);
	EQUAL(mon_shm_set_lock_kind(MON_SHM_LOCK_DEFAULT), 0);
	CHECK(strstr(mon_shm_strerror(), "4711") != NULL);
}

static void a_socket_of_another_user_is_refused(mon_shm_impl impl)
{
	mon_ipc_creds creds = { MON_IPC_PID_UNKNOWN, STRANGER, MON_IPC_GID_UNKNOWN };
	mon_shm_desc *desc;
	int pair[2];

	if (geteuid() != 0)
		check_skip("needs root, to make a segment for another user");
	CHECK((desc = mon_shm_new(SIZE, &creds, impl)) != NULL);
	socket_pair(pair);
	EQUAL(mon_shm_send(desc, pair[0]), EPERM);
	close(pair[0]);
	close(pair[1]);
	mon_shm_done(desc);
}

const struct check_test message_tests[] = {
	ONCE(messages_keep_their_edges), ONCE(a_file_descriptor_travels),
	ONCE(a_message_may_be_longer_than_the_socket_holds), ONCE(what_goes_wrong_with_messages_is_told),
	ONCE(credentials_are_the_kernels), EACH(one_socket_carries_several_segments), EACH(a_refusal_reaches_the_sender),
	ONCE(nobody_answers_for_ever), EACH(another_user_attaches_by_bytes_and_a_third_does_not),
	ONCE(a_lock_with_pointers_is_not_shared_with_strangers), EACH(a_socket_of_another_user_is_refused), END
};
