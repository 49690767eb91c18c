/*
 * Shared memory between processes that do not trust each other: the C interface of monshm.
 *
 * The names, fields and signatures are those of the shared memory part of the Mercury grid monitor. What monshm adds is
 * marked "Added". This file declares; libmonshm defines. It holds no inline code, so that a program built with it goes
 * on with a later library of the same soname.
 *
 * The order of everything:
 *
 *     creator   mon_shm_new → mon_shm_encode → (send the bytes) → lock, ring, unlock … → mon_shm_done
 *     peer      (receive the bytes) → mon_shm_decode            → lock, ring, unlock … → mon_shm_done
 *
 * Compile and link with `pkg-config --cflags --libs monshm`. Where the library is not in a folder that the loader knows,
 * add `-Wl,-rpath,$(pkg-config --variable=libdir monshm)`.
 *
 * ERRORS
 * A function that returns int returns 0 or a positive errno value (unless its comment says otherwise) and promises
 * nothing about errno. A function that returns a pointer returns NULL and sets errno. A ring function sets errno when
 * it could not do its work, and leaves errno as it was when it could. Any failure leaves a sentence that says more in
 * mon_shm_strerror(). NULL, a pointer that is no descriptor, and a descriptor that is gone give EINVAL, with nothing
 * changed. The memory of a descriptor is used again only after many others, so that a use after the last mon_shm_done is
 * reported nearly always, but not for ever.
 *
 * Errno values that any function may give: EINVAL (a bad argument), EPROTO (the segment is corrupt, or was found so
 * before: detach from it), EPERM (a forked child uses its parent's descriptor), ENOMEM, ENOTRECOVERABLE (a defect of
 * the library).
 *
 * THREADS
 * Every function may be called from any thread, with these duties of the caller: a thread that uses a descriptor, or
 * an address in its segment, holds a reference to it (a call must not run beside the last mon_shm_done); a mon_buffer is
 * used by one thread at a time. Nothing here may be called from a signal handler. No call is a cancellation point: a
 * thread that is cancelled (pthread_cancel) ends its call as usual, and acts on it in the program's next one. The
 * library stays in memory after a dlclose, since its handlers stay in force.
 *
 * THE PEER
 * Bytes of the segment may change at any time. The library keeps its own copy of all that its safety depends on; a
 * program that reads the segment by itself copies first, then checks the copy.
 *
 * SIGNALS
 * A segment with a name in /dev/shm can be truncated by the peer, which is a SIGBUS. The first such segment installs a
 * handler for that signal in the process: zeros are then read there, and calls give EPROTO. It passes on every other
 * SIGBUS; a handler that the program installs later must do the same, and threads that use such a segment must not
 * block SIGBUS. A memfd and SysV segments cannot be truncated. To pass on is: keep what sigaction() answered for the old
 * handler; if si_addr is not an address of your own, call the old one (sa_sigaction with all three arguments where
 * SA_SIGINFO is set, else sa_handler) and return; install yours with SA_SIGINFO | SA_ONSTACK.
 *
 * BYTES ALONE
 * mon_shm_encode gives bytes alone. They lead to a memfd through the creator's /proc/PID/fd, for a process of the same
 * user and group, in the same PID and user namespace, if the creator is dumpable (one that changed its user is not,
 * until prctl() says so) and has no capability that the peer lacks. mon_shm_new looks at that, and takes a named or a
 * SysV segment otherwise; so it does for a peer of another user, and for one whose pid is MON_IPC_PID_UNKNOWN, which
 * may live in another PID namespace. mon_shm_send reaches every peer, in any namespace.
 *
 * FILE DESCRIPTORS
 * The library keeps descriptors open, all closed on exec. A POSIX segment has one in its creator and, once it is
 * shared, one more on each side, whose file lock is how the kernel knows who lives. A program that closes descriptors
 * that are not its own (closefrom(), a loop over all numbers) closes these too, and is dead to the other side from then
 * on: its lock is taken over. Close what was inherited before the first segment is made. SysV segments keep none.
 *
 * WITHOUT /proc
 * In a chroot without /proc POSIX segments give ENOTSUP, on either side; SysV segments work, and MON_SHM_IMPL_AUTO takes
 * one where its own process has no /proc. For a peer in such a chroot ask for MON_SHM_IMPL_SYSV.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Credentials ------------------------------------------------------------------------------------------------ */

/* Who a process is. Access is given by uid; pid and gid may be unknown. */
typedef struct mon_ipc_creds {
	pid_t			pid;
	uid_t			uid;
	gid_t			gid;
} mon_ipc_creds;

/* A process id that is not known. */
#define MON_IPC_PID_UNKNOWN	((pid_t)0)
/* A group id that is not known. */
#define MON_IPC_GID_UNKNOWN	((gid_t)-1)

/*
 * Added. Tells who is at the other end of a Unix stream socket, as the kernel noted it when the connection, or the pair,
 * was made. EBADF, ENOTSOCK, ENOTCONN: fd is not such a socket.
 */
int mon_ipc_peer_creds(int fd, mon_ipc_creds *creds);

/* ---- Buffers ---------------------------------------------------------------------------------------------------- */

/*
 * Bytes to be sent, or that were received. May live on the stack; one of the init functions comes first, buf_destroy
 * last. The fields are the library's: use the functions.
 */
typedef struct mon_buffer {
	char			*data;		/* the room */
	size_t			size;		/* bytes of room */
	size_t			begin;		/* first byte that was not extracted, from data */
	size_t			end;		/* where the next byte goes, from data */
	uint32_t		kind;		/* which init function made it */
	uint32_t		reserved;	/* 0 */
} mon_buffer;

/* An empty buffer that grows as needed. */
void buf_init(mon_buffer *buf);
/* An empty buffer with room for size bytes, for good. ENOMEM. */
int buf_init_fixed(mon_buffer *buf, size_t size);
/* A full buffer over the caller's len bytes, which must outlive it. They are never written; appending is ENOSPC. */
void buf_init_full(mon_buffer *buf, const char *data, size_t len);
/* An empty buffer over the caller's size bytes, which must outlive it. */
void buf_init_empty(mon_buffer *buf, char *data, size_t size);
/* Gives back what the buffer owns. It is no buffer then until one of the init functions made it one again. */
void buf_destroy(mon_buffer *buf);
/*
 * Appends all of the size bytes at data, or nothing. ENOSPC: no room. Room of extracted bytes counts; to use it the
 * bytes that are left may move to the front, so that buf_start and buf_end change.
 */
int buf_append_data(mon_buffer *buf, void *data, size_t size);
/* Takes size bytes from the front, or nothing. EAGAIN: there are fewer. */
int buf_extract_data(mon_buffer *buf, void *data, size_t size);
/* Bytes that can be appended. SIZE_MAX less its length for a buffer that grows. 0 and errno EINVAL: no buffer. */
size_t buf_avail(mon_buffer *buf);
/* Bytes that can be extracted. 0 and errno EINVAL: no buffer. */
size_t buf_len(mon_buffer *buf);
/* The first byte that was not extracted; NULL where there never was room. NULL and errno EINVAL: no buffer. */
char *buf_start(mon_buffer *buf);
/* The end of the data, where the next byte goes. As buf_start. */
char *buf_end(mon_buffer *buf);

/* ---- Messages over a Unix stream socket ------------------------------------------------------------------------- */

/*
 * Sends all bytes of buf, and the file descriptor fd unless it is -1, as one message, and empties buf. On failure buf is
 * as it was, but the socket may have taken a part of the message: close it. Waits at most 5 s in all. EMSGSIZE: more
 * than 16 MiB. EBADF, ENOTSOCK, EPIPE, ETIMEDOUT.
 */
int mon_ipc_send_fd(int socket, mon_buffer *buf, int fd);
/*
 * Receives one message: appends its bytes to buf, and sets *fd to the file descriptor that came with it (close-on-exec,
 * the caller's to close), or to -1. Waits at most 5 s in all. On failure buf is as it was, *fd is -1 and nothing stays
 * open. ENOSPC: buf has no room; the message is lost. EPIPE: the other side closed the socket. EPROTO: this is no such
 * message, or several file descriptors came. EPROTOTYPE: the socket is not SOCK_STREAM. EMFILE: our table is full, or
 * file descriptors of earlier messages wait to be closed (a thread of the library closes what a peer sent, since that
 * can block). ENOMEM. EBADF, ENOTSOCK, ETIMEDOUT. *fd is never 0, 1 or 2.
 */
int mon_ipc_recv_fd(int socket, mon_buffer *buf, int *fd);

/* ---- The segment ------------------------------------------------------------------------------------------------ */

/*
 * The ring buffer's words: offsets in bytes from the base of the segment. head == tail: the ring is empty; a ring of n
 * bytes holds at most n - 1. All of them are hints for whoever looks: the peer can write them. Native byte order, fixed
 * widths and places, so that 32-bit and 64-bit programs share a segment; what different sides write stands on different
 * 128-byte lines. Reserved words are the library's.
 */
typedef struct mon_shm_rbuf {
	volatile uint64_t	begin;		/*   0 beginning of the ring buffer */
	volatile uint64_t	end;		/*   8 end of the ring buffer */
	uint64_t		reserved0[14];
	volatile uint64_t	head;		/* 128 start of data in the ring buffer */
	uint64_t		reserved1[15];
	volatile uint64_t	tail;		/* 256 end of data in the ring buffer */
	uint64_t		reserved2[15];
} mon_shm_rbuf;					/* 384 bytes */

/* The beginning of every segment. */
typedef struct mon_shm_header {
	uint64_t		reserved0[2];
	volatile uint64_t	size;		/*  16 total size of the segment, bytes */
	volatile uint64_t	cdata_begin;	/*  24 beginning of the common data */
	volatile uint64_t	cdata_end;	/*  32 end of the common data */
	uint64_t		reserved1[11];
	mon_shm_rbuf		rbuf;		/* 128 the ring buffer */
	uint64_t		reserved2[192];
} mon_shm_header;				/* 2048 bytes */

/* What the memory is. */
typedef enum mon_shm_impl {
	MON_SHM_IMPL_NONE = -1,			/* no shared memory: mon_shm_new answers ENOTSUP */
	MON_SHM_IMPL_AUTO,			/* the first that can make the segment at its size */
	MON_SHM_IMPL_POSIX,			/* memfd or shm_open */
	MON_SHM_IMPL_SYSV			/* shmget */
} mon_shm_impl;

/* Added. How the lock works. The first of a line is the default of that impl. */
typedef enum mon_shm_lock_kind {
	MON_SHM_LOCK_DEFAULT = 0,		/* the impl's first that may be shared with the peer */
	MON_SHM_LOCK_FUTEX = 1,			/* a word in the segment. POSIX, SYSV; for any peer */
	MON_SHM_LOCK_PTHREAD_MUTEX = 2,		/* a robust pthread mutex. POSIX; for peers of our own uid, and root */
	MON_SHM_LOCK_SEMAPHORE = 3,		/* a sem_t. POSIX; for peers of our own uid, and root */
	MON_SHM_LOCK_SYSV_SEM = 4		/* a semaphore of semget. SYSV; for any peer */
} mon_shm_lock_kind;

typedef struct mon_shm_desc mon_shm_desc;

/*
 * The descriptor of a segment: made by mon_shm_new, mon_shm_decode and mon_shm_recv, gone with the last mon_shm_done.
 * All fields are for reading. The library depends on none of them but refcnt.
 */
struct mon_shm_desc {
	mon_shm_header		*header;	/* the beginning of the segment in this process */
	mon_shm_impl		impl;		/* POSIX or SYSV, as it was chosen */
	size_t			orig_size;	/* bytes, whole pages; header->size as no peer can change it */
	void			*priv;		/* the library's own data */
	int			is_master;	/* not 0: this process created the segment */
	/* Each does what the function of the same name does; destroy what the last mon_shm_done does. */
	void			(*destroy)(mon_shm_desc *desc);
	int			(*lock)(mon_shm_desc *desc);
	int			(*unlock)(mon_shm_desc *desc);
	int			(*trylock)(mon_shm_desc *desc);
	int			(*encode)(mon_shm_desc *desc, mon_buffer *buf);
	int			refcnt;		/* references to this descriptor in this process */
	mon_shm_lock_kind	lock_kind;	/* Added: the lock, as it was chosen */
};

/*
 * Makes a segment of size bytes, rounded up to whole pages, that the bytes of mon_shm_encode alone let the peer's uid
 * reach; nobody else is let in. peer == NULL means the caller's own uid. Its memory is reserved at once.
 * NULL: EINVAL (size 0, or too large to be rounded; unknown impl), ENOTSUP (MON_SHM_IMPL_NONE; an impl or a lock that is
 * not in this build or not of this impl), EPERM (no way to give that uid access; a lock that may not be shared with it),
 * ENOSPC (no memory of this kind), EMFILE and others as the system answers.
 */
mon_shm_desc *mon_shm_new(size_t size, mon_ipc_creds *peer, mon_shm_impl impl);

/* Gives a reference back. With the last one the segment is unmapped, and the creator's removes it from the system. */
void mon_shm_done(mon_shm_desc *desc);

/* Counts one reference more. */
void mon_shm_ref(mon_shm_desc *desc);

/*
 * Appends the bytes that let one process attach. May be called again and gives fresh ones; the last 16 are good. Of
 * memory with a name (shm_open, for a peer of another uid) they serve one attach in all, since the name goes with it:
 * hand it to further peers with mon_shm_send. The bytes are a secret of the two sides. EINVAL: not the creator. ENOSPC:
 * buf has no room.
 */
int mon_shm_encode(mon_shm_desc *desc, mon_buffer *buf);

/*
 * Attaches to the segment whose bytes stand first in buf, and takes them out of buf; what follows them stays. size is
 * the size that the creator asked for, or that one in whole pages; another one is EMSGSIZE, or EINVAL where no segment
 * has it, and a line on stderr.
 * NULL, with buf as it was: EINVAL, EPROTO (foreign or damaged bytes, or a segment that is not as they promise), ENOENT
 * or EIDRM (the segment is gone), ESTALE (the bytes were used), EPERM (its owner or its lock is not to be trusted, or we
 * are not let in), EBUSY (31 peers are attached), ENOTSUP.
 */
mon_shm_desc *mon_shm_decode(mon_buffer *buf, size_t size);

/*
 * Added. Hands the segment to the process at the other end of a connected Unix stream socket, and waits at most 5 s until
 * it has attached with mon_shm_recv. One socket may carry several segments in turn. EPERM: the other end is not of the
 * uid that the segment was made for. EPIPE, ETIMEDOUT, EPROTO; else the errno of the mon_shm_recv there.
 */
int mon_shm_send(mon_shm_desc *desc, int fd);

/*
 * Added. Receives a segment from mon_shm_send, waiting at most 5 s. The object must be owned by the uid at the other
 * end, or by our own. size and NULL as for mon_shm_decode; EPIPE, ETIMEDOUT; EPROTOTYPE: the socket is not SOCK_STREAM;
 * EMFILE as for mon_ipc_recv_fd, and the sender is told.
 */
mon_shm_desc *mon_shm_recv(int fd, size_t size);

/* The address of the byte at offset. NULL, EINVAL: outside the segment. */
void *mon_shm_addr(mon_shm_desc *desc, size_t offset);

/* The address that an offset of the header names: MON_SHM_ADDR(desc, rbuf.begin). NULL when it lies outside. */
#define MON_SHM_ADDR(desc, field)	mon_shm_addr((desc), (size_t)(desc)->header->field)

/*
 * Takes size bytes of common data, aligned to 16, for as long as the segment lives, and sets *ptr to their address. Takes
 * the lock itself, waiting at most 5 s, unless the calling thread holds it. While the ring was never used it makes room;
 * afterwards there is what lies between cdata_end and rbuf.begin. ENOSPC: no room. EINVAL: size 0. *ptr stays on failure.
 */
int mon_shm_data_alloc(mon_shm_desc *desc, size_t size, void **ptr);

/* ---- The lock --------------------------------------------------------------------------------------------------- */

/*
 * Takes the lock; waits as long as its holder lives. A killed holder is noticed within 2 s. EDEADLK: this thread holds
 * it. Threads of one process exclude each other too; the thread that locked unlocks.
 */
int mon_shm_lock(mon_shm_desc *desc);
/* Releases the lock. EPERM: this thread does not hold it. */
int mon_shm_unlock(mon_shm_desc *desc);
/* Takes the lock if nobody holds it. EAGAIN: somebody does, this thread, or a killed holder not noticed yet. */
int mon_shm_trylock(mon_shm_desc *desc);
/* Added. Takes the lock, waiting at most timeout_ms. ETIMEDOUT; else as mon_shm_lock. */
int mon_shm_lock_timeout(mon_shm_desc *desc, unsigned timeout_ms);
/*
 * Added. 1 when the lock that is held now was left by a holder that died inside; else 0. Ring and allocator are in order
 * then; the program's own common data may be torn. 0 and errno EINVAL: no descriptor.
 */
int mon_shm_owner_died(mon_shm_desc *desc);
/*
 * Added. Chooses the lock of the segments that this thread makes from now on; MON_SHM_LOCK_DEFAULT takes the choice
 * back. EINVAL: unknown kind. mon_shm_new answers whether it can be had.
 */
int mon_shm_set_lock_kind(mon_shm_lock_kind kind);

/* Added. What went wrong in the last failure of this thread, as a sentence. Never NULL; valid until the next call. */
const char *mon_shm_strerror(void);

/* ---- The ring, under the lock ----------------------------------------------------------------------------------- */

/*
 * For whoever holds the lock, or is the only reader and the only writer. rbuf is &desc->header->rbuf and shmaddr is
 * desc->header. The first call on a segment fixes the bounds of the ring; it takes the lock for that, unless the
 * calling thread holds it. A call takes all bytes or none. src and dst are the program's own memory, not a segment's. EINVAL:
 * rbuf and shmaddr are not those of a segment that this process has, or src or dst is NULL. EBUSY: that endpoint is
 * open, see below. EPROTO: the words of the ring hold what no honest process writes.
 */

/* Appends srclen bytes. ENOSPC: they do not fit. */
void mon_shm_rbuf_append(mon_shm_rbuf *rbuf, void *shmaddr, void *src, size_t srclen);
/* Reads dstlen bytes and removes them. EAGAIN: there are fewer; dst is as it was. */
void mon_shm_rbuf_read(mon_shm_rbuf *rbuf, void *shmaddr, void *dst, size_t dstlen);
/* Removes datalen bytes. EAGAIN: there are fewer. */
void mon_shm_rbuf_skip(mon_shm_rbuf *rbuf, size_t datalen);
/* Bytes that can be appended now; 0 on an error. */
size_t mon_shm_rbuf_avail(mon_shm_rbuf *rbuf);
/* Bytes in the ring; 0 on an error. */
size_t mon_shm_rbuf_len(mon_shm_rbuf *rbuf);

/* ---- Added: the ring without the lock --------------------------------------------------------------------------- */

/*
 * One process has the writing endpoint and one the reading endpoint; neither takes the lock. An endpoint belongs to the
 * thread that opened it (EPERM elsewhere) until that thread closes it or the last mon_shm_done; a dead process's
 * endpoint can be opened again.
 *
 * timeout_ms is how long a call may wait; with 0 it does not wait, and gives ENOSPC or EAGAIN where one that waited in
 * vain gives ETIMEDOUT. EPIPE: the other side has closed its endpoint, or died.
 */
#define MON_SHM_FOREVER		((unsigned)-1)	/* as long as the other side lives */

/* Opens the writing endpoint. EBUSY: it is open already. */
int mon_shm_writer_open(mon_shm_desc *desc);
/* Closes the writing endpoint; the reader still gets what was written. EPERM: this thread did not open it. */
int mon_shm_writer_close(mon_shm_desc *desc);
/* Opens the reading endpoint. EBUSY: it is open already. */
int mon_shm_reader_open(mon_shm_desc *desc);
/* Closes the reading endpoint. EPERM: this thread did not open it. */
int mon_shm_reader_close(mon_shm_desc *desc);

/*
 * Writes srclen bytes. With timeout_ms 0 all or nothing; else part by part as room comes free, and *written, unless
 * written is NULL, tells how many when the time was up. EINVAL: without waiting, more than the ring can hold.
 */
int mon_shm_write(mon_shm_desc *desc, const void *src, size_t srclen, unsigned timeout_ms, size_t *written);
/*
 * Waits for data, takes what is there, at most dstlen bytes, and sets *dstread to how many. 0 and *dstread 0: the writer
 * has closed, or died, and all was read.
 */
int mon_shm_read(mon_shm_desc *desc, void *dst, size_t dstlen, unsigned timeout_ms, size_t *dstread);

/* The description of a record. The library gives kind, flags and tag no meaning. */
typedef struct mon_shm_record {
	size_t			len;		/* bytes */
	uint16_t		tag;
	uint8_t			kind;
	uint8_t			flags;
} mon_shm_record;

/*
 * Writes one record of record->len bytes: whole, or not at all, also when this process is killed. A ring carries
 * records or plain bytes, not both (EINVAL). EINVAL: more than mon_shm_record_limit.
 */
int mon_shm_record_write(mon_shm_desc *desc, const mon_shm_record *record, const void *src, unsigned timeout_ms);
/* Does not wait: a record that does not fit is dropped, counted, and EAGAIN returned. */
int mon_shm_record_write_or_drop(mon_shm_desc *desc, const mon_shm_record *record, const void *src);
/*
 * Reads the next record into dst, which has room for size bytes, and describes it in *record. EMSGSIZE: it is longer;
 * *record describes it and it stays. EPIPE: no record is left, and the writer has closed or died.
 */
int mon_shm_record_read(mon_shm_desc *desc, mon_shm_record *record, void *dst, size_t size, unsigned timeout_ms);
/* The longest record that the writing endpoint takes, in bytes. 0 and errno EPERM: this thread has not opened it. */
size_t mon_shm_record_limit(mon_shm_desc *desc);
/* What the writer dropped since the last call: records, and their bytes. Called by the thread that opened the reading endpoint. */
int mon_shm_drops(mon_shm_desc *desc, uint64_t *records, uint64_t *bytes);

#ifdef __cplusplus
}
#endif

/* The layout that the library was built with. */
#if defined(__cplusplus)
#define MON_SHM_ASSERT(what)	static_assert(what, #what)
#else
#define MON_SHM_ASSERT(what)	_Static_assert(what, #what)
#endif
MON_SHM_ASSERT(sizeof(mon_shm_rbuf) == 384);
MON_SHM_ASSERT(offsetof(mon_shm_rbuf, head) == 128);
MON_SHM_ASSERT(offsetof(mon_shm_rbuf, tail) == 256);
MON_SHM_ASSERT(sizeof(mon_shm_header) == 2048);
MON_SHM_ASSERT(offsetof(mon_shm_header, size) == 16);
MON_SHM_ASSERT(offsetof(mon_shm_header, cdata_begin) == 24);
MON_SHM_ASSERT(offsetof(mon_shm_header, cdata_end) == 32);
MON_SHM_ASSERT(offsetof(mon_shm_header, rbuf) == 128);
MON_SHM_ASSERT(sizeof(mon_shm_impl) == 4 && sizeof(mon_shm_lock_kind) == 4);
#undef MON_SHM_ASSERT

#endif /* MONITOR_MONITOR_H */
