/*
 * Reads descriptors with the code that rpcgen makes from monshm.x: one a line on stdin, in hexadecimal. Prints its
 * fields, and the hexadecimal digits of what the same code encodes again. Judges nothing: the test compares.
 */
#include <stdio.h>
#include <string.h>

#include "monshm.h"

/* By label, so that a number that moved in monshm.x prints as "(null)" or under another name. */
static const char *const backends[] = {
    [MON_SHM_IMPL_POSIX] = "POSIX", [MON_SHM_IMPL_SYSV] = "SYSV",
};
static const char *const locks[] = {
    [MON_SHM_LOCK_FUTEX] = "FUTEX", [MON_SHM_LOCK_PTHREAD_MUTEX] = "PTHREAD_MUTEX",
    [MON_SHM_LOCK_SEMAPHORE] = "SEMAPHORE", [MON_SHM_LOCK_SYSV_SEM] = "SYSV_SEM",
};
static const char *const memories[] = {
    [MON_SHM_MEMORY_MEMFD] = "MEMFD", [MON_SHM_MEMORY_NAMED] = "NAMED", [MON_SHM_MEMORY_SYSV] = "SYSV",
};

/* The name, or "(null)" where the number has none: XDR code does not judge enums. */
#define NAME(table, number) \
    ((size_t)(number) < sizeof(table) / sizeof *(table) && (table)[number] ? (table)[number] : "(null)")

static void print_hex(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        printf("%02x", (unsigned char)bytes[i]);
}

static void print_fields(const mon_shm_descriptor *d)
{
    printf("magic=%u wire_version=%u backend=MON_SHM_IMPL_%s lock=MON_SHM_LOCK_%s size=%llu layout=%u token=",
           d->magic, d->wire_version, NAME(backends, d->backend), NAME(locks, d->lock),
           (unsigned long long)d->size, d->layout);
    print_hex(d->token, sizeof d->token);
    printf(" uid=%u gid=%u object.memory=MON_SHM_MEMORY_%s", d->uid, d->gid, NAME(memories, d->object.memory));
    switch (d->object.memory) {
    case MON_SHM_MEMORY_MEMFD: {
        const mon_shm_memfd *m = &d->object.mon_shm_object_u.memfd;
        printf(" object.memfd.pid=%u object.memfd.fd=%u object.memfd.inode=%llu", m->pid, m->fd,
               (unsigned long long)m->inode);
        break;
    }
    case MON_SHM_MEMORY_NAMED: {
        const mon_shm_named *n = &d->object.mon_shm_object_u.named;
        printf(" object.named.name=%s object.named.inode=%llu", n->name, (unsigned long long)n->inode);
        break;
    }
    case MON_SHM_MEMORY_SYSV: {
        const mon_shm_sysv *s = &d->object.mon_shm_object_u.sysv;
        printf(" object.sysv.shm_id=%d object.sysv.sem_id=%d", s->shm_id, s->sem_id);
        break;
    }
    }
    printf(" checksum=%u ", d->checksum);
}

int main(void)
{
    char line[2 * MON_SHM_WIRE_MAX_LEN + 2];
    while (fgets(line, sizeof line, stdin)) {
        char in[MON_SHM_WIRE_MAX_LEN], out[MON_SHM_WIRE_MAX_LEN];
        u_int len = strcspn(line, "\n") / 2;
        for (u_int i = 0; i < len; i++) {
            unsigned byte;
            if (sscanf(line + 2 * i, "%2x", &byte) != 1)
                return 1;
            in[i] = (char)byte;
        }
        XDR reader, writer;
        mon_shm_descriptor d;
        memset(&d, 0, sizeof d);
        xdrmem_create(&reader, in, len, XDR_DECODE);
        if (!xdr_mon_shm_descriptor(&reader, &d) || xdr_getpos(&reader) != len) {
            puts("refused");
            continue;
        }
        print_fields(&d);
        xdrmem_create(&writer, out, sizeof out, XDR_ENCODE);
        if (!xdr_mon_shm_descriptor(&writer, &d))
            return 1;
        print_hex(out, xdr_getpos(&writer));
        putchar('\n');
        xdr_free((xdrproc_t)xdr_mon_shm_descriptor, (char *)&d);
    }
    return 0;
}
