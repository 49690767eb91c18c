// The header in C++17: it compiles, its types are complete, and a program links and runs. The C suite tests what the
// functions do.
#include <monitor/monitor.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <type_traits>

static_assert(std::is_standard_layout<mon_shm_desc>::value, "a program sees the fields where C has them");
static_assert(std::is_trivially_copyable<mon_buffer>::value, "a buffer may be moved by memcpy");

int main()
{
	mon_ipc_creds creds = { MON_IPC_PID_UNKNOWN, 0, MON_IPC_GID_UNKNOWN };
	mon_buffer buf;
	char bytes[3] = { 'a', 'b', 'c' };
	mon_shm_desc *desc = mon_shm_new(5000, nullptr, MON_SHM_IMPL_AUTO);

	if (!desc || creds.gid != static_cast<gid_t>(-1)) {
		std::fprintf(stderr, "cxx: %s\n", mon_shm_strerror());
		return 1;
	}
	mon_shm_lock(desc);
	mon_shm_rbuf_append(&desc->header->rbuf, desc->header, bytes, sizeof bytes);
	desc->unlock(desc);
	buf_init(&buf);
	bool good = mon_shm_encode(desc, &buf) == 0 && buf_len(&buf) > 0 && MON_SHM_ADDR(desc, rbuf.begin) != nullptr &&
		desc->header->rbuf.tail - desc->header->rbuf.head == sizeof bytes;
	buf_destroy(&buf);
	mon_shm_done(desc);
	good = good && mon_shm_lock(desc) == EINVAL && std::strlen(mon_shm_strerror()) > 0;
	return good ? 0 : 1;
}
