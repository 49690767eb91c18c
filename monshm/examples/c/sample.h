/* What the producer puts into the ring, and the consumer takes out. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stdint.h>

#define SEGMENT_SIZE	((size_t)65536)

struct sample {
	uint64_t	number;		/* 1, 2, 3 …; 0 says that no more will come */
	double		value;
};

#endif
