/* switch.c - see switch.h. Written by hand for x86-64, as swapcontext(3) makes a system call each time; elsewhere that
 * is used. */
#include "switch.h"

#include <stdint.h>

#if defined(__x86_64__)

__asm__(".text\n"
        ".globl switch_stack\n"
        ".type switch_stack, @function\n"
        "switch_stack:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size switch_stack, . - switch_stack\n");

void *switch_prepare(void *top, void (*entry)(void))
{
  enum { SAVED = 6 };
  uint64_t *at = top;
  *--at = 0; /* so that the stack is aligned as at a call */
  *--at = (uint64_t)(uintptr_t)entry;
  for (int i = 0; i < SAVED; i++) *--at = 0;
  return at;
}

#else

#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

enum { STACK_BYTES = 1 << 20 };

static ucontext_t outside;

void *switch_prepare(void *top, void (*entry)(void))
{
  ucontext_t *context = (ucontext_t *)(void *)((char *)top - STACK_BYTES);
  getcontext(context);
  context->uc_stack.ss_sp = (char *)context + sizeof *context;
  context->uc_stack.ss_size = STACK_BYTES - sizeof *context;
  context->uc_link = NULL;
  makecontext(context, entry, 0);
  return context;
}

void switch_stack(void **from, void *to)
{
  ucontext_t *own = *from ? *from : &outside;
  if (!*from) *from = own;
  swapcontext(own, to);
}

#endif
