/* job.h - the message by which workers get a job: a block of three words, what a worker needs before it decodes the
 * job, the job, and the script's state as a whole, for workers that have another one. */
#ifndef PARLUA_LUA_JOB_H
#define PARLUA_LUA_JOB_H

#include <stddef.h>
#include <stdint.h>

#include "sys/buffer.h"

struct job_part {
  const char *bytes;
  size_t length;
};

/* Where the job's value begins in the message, behind so many bytes of what is needed before. Its codec message begins
 * 8 bytes further. */
uint64_t job_place(size_t before_length);
/* Fills in all around the codec message that `job` holds from byte `at` + 8 on. Returns 0 or an errno. */
int job_wrap(struct buffer *job, struct job_part before, struct job_part whole, uint64_t at, uint32_t number);

#endif
