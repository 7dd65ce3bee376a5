/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership in C: every owned local carries a cleanup attribute and is initialised where it is
 * declared; it is handed over with TAKE_PTR or TAKE_FD, which leave the local empty.
 * A type of one's own gets its attribute beside its destructor with DEFINE_CLEANUP.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) *take_from_ = &(p);                                                  \
		__typeof__(p) take_value_ = *take_from_;                                           \
		*take_from_ = NULL;                                                                \
		take_value_;                                                                       \
	})

#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int *take_from_ = &(fd);                                                           \
		int take_value_ = *take_from_;                                                     \
		*take_from_ = -1;                                                                  \
		take_value_;                                                                       \
	})

/* DEFINE_CLEANUP(struct plan *, plan_free) makes plan_freep, for CLEANUP(plan_freep). */
#define DEFINE_CLEANUP(type, destroy)                                                              \
	static inline void destroy##p(type *p)                                                     \
	{                                                                                          \
		destroy(*p);                                                                       \
	}

#define CLEANUP(f) __attribute__((cleanup(f)))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED __attribute__((unused))

static inline void cleanup_freep(void *p)
{
	void **where = p;

	free(*where);
}

static inline void cleanup_closep(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_filep(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define CLEAN_FREE CLEANUP(cleanup_freep)
#define CLEAN_FD CLEANUP(cleanup_closep)
#define CLEAN_FILE CLEANUP(cleanup_filep)
