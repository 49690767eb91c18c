// Two queues of Boost behind C functions: interprocess::message_queue and lockfree::spsc_queue in shared memory.
//
// No loop and no check of a message is here: those are the same Rust code for every transport. A call from Rust into
// this file is not inlined, which costs about a nanosecond.

#include <boost/interprocess/ipc/message_queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>

#include <cstddef>
#include <cstring>
#include <exception>
#include <new>

namespace {

namespace ipc = boost::interprocess;

struct Failure {
    char *text;
    std::size_t len;

    void say(const char *why) const
    {
        std::strncpy(text, why, len - 1);
        text[len - 1] = '\0';
    }
};

template <std::size_t N> struct Message {
    unsigned char bytes[N];
};

template <std::size_t N, std::size_t Places>
using Queue = boost::lockfree::spsc_queue<Message<N>, boost::lockfree::capacity<Places>>;

/// How one instance of the template is used; `size` is 0 where there is none.
struct Spsc {
    std::size_t size;
    void (*construct)(void *);
    bool (*push)(void *, const void *);
    bool (*pop)(void *, void *);
};

template <std::size_t N, std::size_t Places> Spsc spsc()
{
    using Q = Queue<N, Places>;
    return {
        sizeof(Q),
        [](void *at) { new (at) Q(); },
        [](void *queue, const void *from) {
            return static_cast<Q *>(queue)->push(*static_cast<const Message<N> *>(from));
        },
        [](void *queue, void *to) { return static_cast<Q *>(queue)->pop(*static_cast<Message<N> *>(to)); },
    };
}

template <std::size_t N> Spsc spsc_through(std::size_t ring_len)
{
    constexpr std::size_t MIB = 1 << 20;
    if (ring_len == MIB)
        return spsc<N, MIB / N>();
    if (ring_len == MIB / 16)
        return spsc<N, MIB / 16 / N>();
    return {};
}

} // namespace

extern "C" {

/// A queue without a name: made, mapped, and its name removed before anybody else can see it. Null and a text where it
/// cannot be made.
void *bench_mq_new(const char *name, std::size_t places, std::size_t len, char *why, std::size_t why_len)
{
    Failure failure{why, why_len};
    try {
        auto *queue = new ipc::message_queue(ipc::create_only, name, places, len, ipc::permissions(0600));
        ipc::message_queue::remove(name);
        return queue;
    } catch (const std::exception &error) {
        failure.say(error.what());
        ipc::message_queue::remove(name);
        return nullptr;
    }
}

void bench_mq_drop(void *queue)
{
    delete static_cast<ipc::message_queue *>(queue);
}

/// 1: sent; 0: full, where it may not wait; -1: an exception.
int bench_mq_send(void *queue, const void *from, std::size_t len, int wait)
{
    try {
        auto *q = static_cast<ipc::message_queue *>(queue);
        if (!wait)
            return q->try_send(from, len, 0);
        q->send(from, len, 0);
        return 1;
    } catch (const std::exception &) {
        return -1;
    }
}

/// The length of the message; 0: empty, where it may not wait; -1: an exception.
long bench_mq_receive(void *queue, void *to, std::size_t len, int wait)
{
    try {
        auto *q = static_cast<ipc::message_queue *>(queue);
        ipc::message_queue::size_type received = 0;
        unsigned priority = 0;
        if (!wait)
            return q->try_receive(to, len, received, priority) ? static_cast<long>(received) : 0;
        q->receive(to, len, received, priority);
        return static_cast<long>(received);
    } catch (const std::exception &) {
        return -1;
    }
}

/// The instance for messages of `len` bytes through `ring_len` bytes; its `size` is 0 where there is none.
Spsc bench_spsc(std::size_t len, std::size_t ring_len)
{
    switch (len) {
    case 8: return spsc_through<8>(ring_len);
    case 16: return spsc_through<16>(ring_len);
    case 64: return spsc_through<64>(ring_len);
    case 256: return spsc_through<256>(ring_len);
    case 1024: return spsc_through<1024>(ring_len);
    case 4096: return spsc_through<4096>(ring_len);
    case 65536: return spsc_through<65536>(ring_len);
    default: return {};
    }
}

} // extern "C"
