/* mon_buffer: every function, every kind of buffer. No shared memory here. */
#include "check.h"

static void holds(mon_buffer *buf, const char *bytes)
{
	EQUAL(buf_len(buf), strlen(bytes));
	CHECK(memcmp(buf_start(buf), bytes, strlen(bytes)) == 0);
	EQUAL(buf_end(buf) - buf_start(buf), strlen(bytes));
}

static void a_growing_buffer_grows(void)
{
	mon_buffer buf;
	char byte, big[1000] = { 0 };

	buf_init(&buf);
	EQUAL(buf_len(&buf), 0);
	CHECK(buf_avail(&buf) == SIZE_MAX);
	EQUAL(buf_append_data(&buf, "hello ", 6), 0);
	EQUAL(buf_append_data(&buf, "world", 5), 0);
	holds(&buf, "hello world");
	CHECK(buf_avail(&buf) == SIZE_MAX - 11);
	EQUAL(buf_append_data(&buf, NULL, 0), 0);
	for (int i = 0; i < 100; i++)
		EQUAL(buf_append_data(&buf, big, sizeof big), 0);
	EQUAL(buf_len(&buf), 100011);
	EQUAL(buf_extract_data(&buf, &byte, 1), 0);
	CHECK(byte == 'h');
	EQUAL(buf_append_data(&buf, big, (size_t)-1), ENOSPC);
	EQUAL(buf_len(&buf), 100010);
	buf_destroy(&buf);
}

static void extracting_consumes_all_or_nothing(void)
{
	mon_buffer buf;
	char bytes[8] = "........";

	buf_init(&buf);
	EQUAL(buf_append_data(&buf, "abcdef", 6), 0);
	EQUAL(buf_extract_data(&buf, bytes, 7), EAGAIN);
	CHECK(memcmp(bytes, "........", 8) == 0);
	holds(&buf, "abcdef");
	EQUAL(buf_extract_data(&buf, bytes, 4), 0);
	CHECK(memcmp(bytes, "abcd....", 8) == 0);
	holds(&buf, "ef");
	EQUAL(buf_extract_data(&buf, bytes, 2), 0);
	EQUAL(buf_len(&buf), 0);
	EQUAL(buf_extract_data(&buf, bytes, 0), 0);
	buf_destroy(&buf);
}

static void a_fixed_buffer_stays(void)
{
	mon_buffer buf;
	char bytes[4];

	EQUAL(buf_init_fixed(&buf, 8), 0);
	EQUAL(buf_avail(&buf), 8);
	EQUAL(buf_append_data(&buf, "123456789", 9), ENOSPC);
	EQUAL(buf_len(&buf), 0);
	EQUAL(buf_append_data(&buf, "12345678", 8), 0);
	EQUAL(buf_avail(&buf), 0);
	EQUAL(buf_append_data(&buf, "9", 1), ENOSPC);
	EQUAL(buf_extract_data(&buf, bytes, 4), 0);
	EQUAL(buf_avail(&buf), 4);
	EQUAL(buf_append_data(&buf, "abcd", 4), 0);
	holds(&buf, "5678abcd");
	buf_destroy(&buf);
	EQUAL(buf_init_fixed(&buf, (size_t)-1), ENOMEM);
	SETS_ERRNO(buf_len(&buf), EINVAL);
	EQUAL(buf_init_fixed(&buf, 0), 0);
	EQUAL(buf_avail(&buf), 0);
	buf_destroy(&buf);
}

static void a_full_buffer_is_only_read(void)
{
	static const char text[] = "read me";
	mon_buffer buf;
	char bytes[8];

	buf_init_full(&buf, text, 7);
	CHECK(buf_start(&buf) == text && buf_end(&buf) == text + 7);
	EQUAL(buf_avail(&buf), 0);
	EQUAL(buf_append_data(&buf, "x", 1), ENOSPC);
	EQUAL(buf_extract_data(&buf, bytes, 5), 0);
	EQUAL(buf_append_data(&buf, "x", 1), ENOSPC);
	holds(&buf, "me");
	buf_destroy(&buf);
	CHECK(strcmp(text, "read me") == 0);
}

static void an_empty_buffer_is_over_the_callers_room(void)
{
	mon_buffer buf;
	char room[6] = "......";

	buf_init_empty(&buf, room, 4);
	EQUAL(buf_avail(&buf), 4);
	CHECK(buf_start(&buf) == room && buf_end(&buf) == room);
	EQUAL(buf_append_data(&buf, "abc", 3), 0);
	CHECK(buf_end(&buf) == room + 3);
	EQUAL(buf_append_data(&buf, "de", 2), ENOSPC);
	CHECK(memcmp(room, "abc...", 6) == 0);
	EQUAL(buf_append_data(&buf, "d", 1), 0);
	buf_destroy(&buf);
	CHECK(memcmp(room, "abcd..", 6) == 0);
}

static void a_buffer_appends_itself(void)
{
	mon_buffer buf;
	char byte;

	buf_init(&buf);
	EQUAL(buf_append_data(&buf, "0123456789", 10), 0);
	for (int i = 0; i < 6; i++)
		EQUAL(buf_append_data(&buf, buf_start(&buf), buf_len(&buf)), 0);
	EQUAL(buf_len(&buf), 640);
	for (size_t i = 0; i < 640; i++)
		CHECK(buf_start(&buf)[i] == (char)('0' + i % 10));
	buf_destroy(&buf);

	EQUAL(buf_init_fixed(&buf, 8), 0);
	EQUAL(buf_append_data(&buf, "abcdefgh", 8), 0);
	for (int i = 0; i < 4; i++)
		EQUAL(buf_extract_data(&buf, &byte, 1), 0);
	EQUAL(buf_append_data(&buf, buf_start(&buf), 4), 0);
	holds(&buf, "efghefgh");
	buf_destroy(&buf);
}

static void what_is_no_buffer_is_told(void)
{
	mon_buffer buf;
	char byte = 0;

	memset(&buf, 0x5a, sizeof buf);
	for (int turn = 0; turn < 2; turn++) {
		EQUAL(buf_append_data(&buf, &byte, 1), EINVAL);
		EQUAL(buf_extract_data(&buf, &byte, 1), EINVAL);
		SETS_ERRNO(EQUAL(buf_len(&buf), 0), EINVAL);
		SETS_ERRNO(EQUAL(buf_avail(&buf), 0), EINVAL);
		SETS_ERRNO(CHECK(buf_start(&buf) == NULL), EINVAL);
		SETS_ERRNO(CHECK(buf_end(&buf) == NULL), EINVAL);
		SETS_ERRNO(buf_destroy(&buf), EINVAL);
		buf_init(&buf);
		buf_destroy(&buf);	/* the second turn: a buffer that is gone */
	}
	SETS_ERRNO(buf_init(NULL), EINVAL);
	EQUAL(buf_init_fixed(NULL, 8), EINVAL);
	SETS_ERRNO(buf_init_full(NULL, &byte, 1), EINVAL);
	SETS_ERRNO(buf_init_full(&buf, NULL, 1), EINVAL);
	SETS_ERRNO(buf_len(&buf), EINVAL);
	SETS_ERRNO(buf_init_empty(NULL, &byte, 1), EINVAL);
	SETS_ERRNO(buf_init_empty(&buf, NULL, 1), EINVAL);
	SETS_ERRNO(buf_destroy(NULL), EINVAL);
	EQUAL(buf_append_data(NULL, &byte, 1), EINVAL);
	EQUAL(buf_extract_data(NULL, &byte, 1), EINVAL);
	SETS_ERRNO(buf_len(NULL), EINVAL);
	SETS_ERRNO(buf_avail(NULL), EINVAL);
	SETS_ERRNO(buf_start(NULL), EINVAL);
	SETS_ERRNO(buf_end(NULL), EINVAL);
	buf_init(&buf);
	EQUAL(buf_append_data(&buf, NULL, 1), EINVAL);
	EQUAL(buf_append_data(&buf, "a", 1), 0);
	EQUAL(buf_extract_data(&buf, NULL, 1), EINVAL);
	EQUAL(buf_len(&buf), 1);
	buf_destroy(&buf);
}

const struct check_test buffer_tests[] = {
	ONCE(a_growing_buffer_grows), ONCE(extracting_consumes_all_or_nothing), ONCE(a_fixed_buffer_stays),
	ONCE(a_full_buffer_is_only_read), ONCE(an_empty_buffer_is_over_the_callers_room), ONCE(a_buffer_appends_itself),
	ONCE(what_is_no_buffer_is_told), END
};
