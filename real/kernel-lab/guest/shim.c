/* A UML 6.1 keeps a process's floating point state in a buffer of a fixed size. A host whose state is larger refuses to take that
 * back. This shim widens what UML sets: x87, SSE and AVX from UML, everything else as the host has it. Linked in with LD_PRELOAD. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PEEKTEXT = 1, PEEKDATA = 2, PEEKUSER = 3, GETREGSET = 0x4204, SETREGSET = 0x4205, XSTATE = 0x202 };
enum { WIDEST = 65536, COMPONENTS_AT = 512 };

long ptrace(int request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	pid_t pid = va_arg(arguments, pid_t);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);

	if (request >= PEEKTEXT && request <= PEEKUSER) {
		long word = 0;
		long failed = syscall(SYS_ptrace, request, pid, address, &word);
		if (failed < 0)
			return -1;
		errno = 0;
		return word;
	}
	if (request == SETREGSET && (long)address == XSTATE) {
		static __thread unsigned char whole[WIDEST] __attribute__((aligned(64)));
		struct iovec *narrow = data;
		struct iovec wide = { whole, sizeof whole };
		if (syscall(SYS_ptrace, GETREGSET, pid, address, &wide) == 0 && wide.iov_len > narrow->iov_len
		    && narrow->iov_len >= COMPONENTS_AT + sizeof(uint64_t)) {
			uint64_t host, uml;
			memcpy(&host, whole + COMPONENTS_AT, sizeof host);
			memcpy(whole, narrow->iov_base, narrow->iov_len);
			memcpy(&uml, whole + COMPONENTS_AT, sizeof uml);
			uml = (uml & 7) | (host & ~(uint64_t)7);
			memcpy(whole + COMPONENTS_AT, &uml, sizeof uml);
			return syscall(SYS_ptrace, request, pid, address, &wide);
		}
	}
	return syscall(SYS_ptrace, request, pid, address, data);
}
