/* DRBD's user-mode helper in the guest: notes each call in /run/helper/calls, and ends with the number in /run/helper/NAME (0 without such a
 * file). The kernel starts it with an environment of its own, in which a C library would use registers that the guest does not have: so this
 * is built without one. */

enum { SYS_read = 0, SYS_write = 1, SYS_open = 2, SYS_exit = 60 };
enum { READ = 0, APPEND = 02001 };

static long call(long number, long one, long two, long three)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(one), "S"(two), "d"(three) : "rcx", "r11", "memory");
	return result;
}

static long length(const char *text)
{
	long bytes = 0;
	while (text[bytes])
		bytes++;
	return bytes;
}

static int answer(const char *name)
{
	char path[128] = "/run/helper/", digits[8] = { 0 };
	long at = length(path), status = 0;
	while (*name && at < (long)sizeof path - 1)
		path[at++] = *name++;
	long file = call(SYS_open, (long)path, READ, 0);
	if (file >= 0)
		call(SYS_read, file, (long)digits, sizeof digits - 1);
	for (const char *digit = digits; *digit >= '0' && *digit <= '9'; digit++)
		status = status * 10 + (*digit - '0');
	return (int)status;
}

__attribute__((used)) void begin(long *stack)
{
	long count = stack[0];
	char **words = (char **)(stack + 1);
	long calls = call(SYS_open, (long)"/run/helper/calls", APPEND, 0);
	if (count < 2)
		call(SYS_exit, 0, 0, 0);
	if (calls >= 0) {
		call(SYS_write, calls, (long)words[1], length(words[1]));
		call(SYS_write, calls, (long)"\n", 1);
	}
	call(SYS_exit, answer(words[1]), 0, 0);
}

__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
