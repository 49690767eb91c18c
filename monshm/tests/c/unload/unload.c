/*
 * Loads the library, lets it guard memory that a peer could truncate, unloads it, and has a SIGBUS of its own: the
 * program's handler, which was there first, is still reached. In a thread that ends, so that nothing of that thread
 * keeps the library.
 */
#include <monitor/monitor.h>

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void reached(int number)
{
	(void)number;
	_exit(0);
}

static void *use(void *library)
{
	mon_ipc_creds	peer = { 0, 65534 - 1, 65534 - 1 };
	mon_shm_desc	*(*create)(size_t, const mon_ipc_creds *, mon_shm_impl);
	void		(*done)(mon_shm_desc *);
	mon_shm_desc	*desc;

	*(void **)&create = dlsym(library, "mon_shm_new");
	*(void **)&done = dlsym(library, "mon_shm_done");
	/* Another user's: bytes alone must suffice, and so it has a name and cannot be sealed. */
	if (!create || !done || !(desc = create(65536, &peer, MON_SHM_IMPL_POSIX))) {
		fprintf(stderr, "no segment\n");
		exit(2);
	}
	done(desc);
	return NULL;
}

int main(int argc, char **argv)
{
	void		*library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	FILE		*file = tmpfile();
	pthread_t	thread;
	volatile char	*byte;

	signal(SIGBUS, reached);
	if (!library || !file || pthread_create(&thread, NULL, use, library) || pthread_join(thread, NULL))
		return 2;
	if (dlclose(library))
		return 2;
	byte = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(file), 0);
	return byte[0] ? 3 : 4;
}
