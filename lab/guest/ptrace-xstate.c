/*
 * User-Mode Linux 6.1 saves and restores 2696 bytes of a process's extended state (enough for AVX-512 and PKRU). On a
 * CPU with AMX the state is larger, reading a part of it still works, but Linux refuses to write one that is not whole
 * (xstateregs_set in arch/x86/kernel/fpu/regset.c): the guest dies at its first process. Loaded before the C library,
 * this ptrace fills what is missing from the process's present state, which nothing in the guest ever uses.
 */
#include <stddef.h>

struct iovec { void *base; size_t length; };

enum { SYS_PTRACE = 101, PTRACE_GETREGSET = 0x4204, PTRACE_SETREGSET = 0x4205, NT_X86_XSTATE = 0x202 };

extern int *__errno_location(void);

static long raw_ptrace(long request, long pid, void *address, void *data)
{
    long result;
    register void *fourth __asm__("r10") = data;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(SYS_PTRACE), "D"(request), "S"(pid), "d"(address), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}

/* Not on the stack: those of the guest's kernel have 16 KiB. One thread of a guest traces, so one buffer is enough. */
static unsigned char whole[65536] __attribute__((aligned(64)));

static long set_xstate(long pid, void *note, struct iovec *part)
{
    struct iovec all = {whole, sizeof whole};
    long result = raw_ptrace(PTRACE_GETREGSET, pid, note, &all);
    if (result < 0) return result;
    const unsigned char *from = part->base;
    for (size_t at = 0; at < part->length && at < all.length; at++) whole[at] = from[at];
    return raw_ptrace(PTRACE_SETREGSET, pid, note, &all);
}

long ptrace(int request, int pid, void *address, void *data)
{
    long result;
    long peeked = 0;
    int peeks = request >= 1 && request <= 3; /* PEEKTEXT, PEEKDATA, PEEKUSER: glibc returns the word itself */
    if (request == PTRACE_SETREGSET && address == (void *)NT_X86_XSTATE)
        result = set_xstate(pid, address, data);
    else
        result = raw_ptrace(request, pid, address, peeks ? &peeked : data);
    if (result < 0) {
        *__errno_location() = (int)-result;
        return -1;
    }
    if (peeks) {
        *__errno_location() = 0;
        return peeked;
    }
    return result;
}
