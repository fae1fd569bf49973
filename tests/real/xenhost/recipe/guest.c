/* The only program of a test guest: its init. It answers one-line questions on the console.
 *
 *     question   "?" NUMBER " " COMMAND "\n"
 *     answer     "@" NUMBER " " CHECKSUM " " TEXT "\n"      the checksum is the sum of the text's bytes, modulo 65536
 *
 * A number that was answered already is answered again with the same words and nothing is done, so whoever got no
 * answer asks again. What the kernel says in between begins with no "@".
 *
 * Beside the console two processes run: one looks at the clock every few milliseconds and keeps the largest step of it,
 * which goes on while the guest is suspended; one, when asked for, writes a number to each disk, reads back what it
 * wrote before, and compares it with memory. All they know stands in one shared page: that is the guest's memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, DISKS = 8, WORDS = 256 };

/* Whoever runs this guest pays for all that it does while others work. */
enum { NAP_US = 10000 };

struct memory {
    volatile uint64_t ticks;              /* rounds of the clock's loop */
    volatile uint64_t nap_us;             /* between two of them, and two of the worker's */
    volatile uint64_t gap_us;             /* its largest step since it was last asked for */
    volatile uint64_t steps[DISKS];       /* what was last written to each disk */
    volatile uint64_t bad, errors;        /* disk and memory disagreed; a read or write failed */
    volatile uint64_t stall_us;           /* the longest read and write since it was last asked for */
    char word[WORDS];
};
static struct memory *memory;
static pid_t worker, dirtier;

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}

static void nap(long microseconds)
{
    struct timespec t = { 0, microseconds * 1000 };
    nanosleep(&t, NULL);
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    if (fd >= 0) {
        if (write(fd, text, strlen(text)) < 0)
            perror(path);
        close(fd);
    }
}

static int open_disk(const char *name, int mode)
{
    char path[64];
    snprintf(path, sizeof path, "/dev/%s", name);
    return open(path, mode | O_DIRECT | O_DSYNC);
}

/* The first block of a disk belongs to the worker, the others to the words that a test writes. 0, or an errno. */
static int write_word(const char *name, unsigned index, const char *word)
{
    static char block[BLOCK] __attribute__((aligned(BLOCK)));
    int fd = open_disk(name, O_RDWR);
    if (fd < 0)
        return errno;
    memset(block, 0, sizeof block);
    memcpy(block, word, strlen(word));
    errno = EIO;
    int failed = pwrite(fd, block, BLOCK, (off_t)(index + 1) * BLOCK) == BLOCK ? 0 : errno;
    close(fd);
    return failed;
}

static int read_word(const char *name, unsigned index, char *found)
{
    static char block[BLOCK] __attribute__((aligned(BLOCK)));
    int fd = open_disk(name, O_RDONLY);
    if (fd < 0)
        return errno;
    errno = EIO;
    int failed = pread(fd, block, BLOCK, (off_t)(index + 1) * BLOCK) == BLOCK ? 0 : errno;
    close(fd);
    if (!failed) {
        block[WORDS - 1] = 0;
        strcpy(found, block);
    }
    return failed;
}

static void watch_the_clock(void)
{
    for (uint64_t before = now_us();; nap(memory->nap_us)) {
        uint64_t now = now_us();
        if (now - before > memory->gap_us)
            memory->gap_us = now - before;
        before = now;
        memory->ticks++;
    }
}

static void step(int disk, int fd)
{
    static uint64_t block[BLOCK / 8] __attribute__((aligned(BLOCK)));
    uint64_t began = now_us();
    if (pread(fd, block, BLOCK, 0) != BLOCK)
        memory->errors++;
    else if (block[0] != memory->steps[disk] || block[BLOCK / 8 - 1] != memory->steps[disk])
        memory->bad++;
    uint64_t next = memory->steps[disk] + 1;
    for (int i = 0; i < BLOCK / 8; i++)
        block[i] = next;
    if (pwrite(fd, block, BLOCK, 0) != BLOCK)
        memory->errors++;
    else
        memory->steps[disk] = next;
    if (now_us() - began > memory->stall_us)
        memory->stall_us = now_us() - began;
}

static void work(char *names)
{
    static char zeros[BLOCK] __attribute__((aligned(BLOCK)));
    int fds[DISKS], count = 0;
    for (char *name = strtok(names, " "); name && count < DISKS; name = strtok(NULL, " "), count++) {
        fds[count] = open_disk(name, O_RDWR);
        if (fds[count] < 0 || pwrite(fds[count], zeros, BLOCK, 0) != BLOCK)
            memory->errors++;
        memory->steps[count] = 0;
    }
    for (;; nap(memory->nap_us))
        for (int disk = 0; disk < count; disk++)
            step(disk, fds[disk]);
}

static void dirty(size_t bytes, long pages)
{
    char *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 1, bytes);
    for (uint64_t n = 0, page = 0;; nap(10000))
        for (long i = 0; i < pages; i++, page = (page + 1) % (bytes / BLOCK))
            *(volatile uint64_t *)(area + page * BLOCK) = ++n;
}

/* Nothing on this CPU runs any more, the kernel's own threads included: a guest that hangs. */
static void hang(void)
{
    struct sched_param highest = { .sched_priority = 99 };
    put("/proc/sys/kernel/sched_rt_runtime_us", "-1");
    sched_setscheduler(0, SCHED_FIFO, &highest);
    for (;;)
        ;
}

static void stop(pid_t *process)
{
    if (*process > 0) {
        kill(*process, SIGKILL);
        waitpid(*process, NULL, 0);
    }
    *process = 0;
}

static void answer(char *line, char *text, size_t room)
{
    char name[64] = "", word[WORDS] = "";
    unsigned index = 0;
    long amount = 0;
    snprintf(text, room, "done");
    if (!strcmp(line, "ping"))
        snprintf(text, room, "pong");
    else if (!strcmp(line, "ticks"))
        snprintf(text, room, "%llu", (unsigned long long)memory->ticks);
    else if (!strcmp(line, "gap")) {
        snprintf(text, room, "%llu", (unsigned long long)memory->gap_us);
        memory->gap_us = 0;
    } else if (sscanf(line, "nap %ld", &amount) == 1)
        memory->nap_us = amount;
    else if (sscanf(line, "keep %255[^\n]", word) == 1)
        strcpy(memory->word, word);
    else if (!strcmp(line, "kept"))
        snprintf(text, room, "%s", memory->word);
    else if (sscanf(line, "write %63s %u %255[^\n]", name, &index, word) == 3) {
        int failed = write_word(name, index, word);
        if (failed)
            snprintf(text, room, "error %s", strerror(failed));
    } else if (sscanf(line, "read %63s %u", name, &index) == 2) {
        int failed = read_word(name, index, word);
        if (failed)
            snprintf(text, room, "error %s", strerror(failed));
        else
            snprintf(text, room, "%s", word);
    } else if (!strncmp(line, "work ", 5)) {
        stop(&worker);
        memory->bad = memory->errors = memory->stall_us = 0;
        worker = fork();
        if (!worker)
            work(line + 5);
    } else if (!strcmp(line, "worked")) {
        snprintf(text, room, "%llu steps %llu bad %llu errors %llu us", (unsigned long long)memory->steps[0],
                 (unsigned long long)memory->bad, (unsigned long long)memory->errors,
                 (unsigned long long)memory->stall_us);
        memory->stall_us = 0;
    } else if (!strcmp(line, "rest")) {
        stop(&worker);
        stop(&dirtier);
    } else if (sscanf(line, "dirty %u %ld", &index, &amount) == 2) {
        stop(&dirtier);
        dirtier = fork();
        if (!dirtier)
            dirty((size_t)index << 20, amount);
    } else if (strcmp(line, "poweroff") && strcmp(line, "reboot") && strcmp(line, "crash") && strcmp(line, "hang"))
        snprintf(text, room, "error what is that");
}

/* Done after the answer has left. */
static void end(const char *line)
{
    if (!strcmp(line, "poweroff"))
        reboot(RB_POWER_OFF);
    else if (!strcmp(line, "reboot"))
        reboot(RB_AUTOBOOT);
    else if (!strcmp(line, "crash"))
        put("/proc/sysrq-trigger", "c");
    else if (!strcmp(line, "hang"))
        hang();
}

static int console(void)
{
    int fd;
    while ((fd = open("/dev/hvc0", O_RDWR | O_NOCTTY)) < 0)
        nap(10000);
    struct termios mode;
    if (!tcgetattr(fd, &mode)) {
        cfmakeraw(&mode);
        tcsetattr(fd, TCSANOW, &mode);
    }
    return fd;
}

static void say(int fd, const char *number, const char *text)
{
    char line[WORDS + 64];
    unsigned sum = 0;
    for (const char *c = text; *c; c++)
        sum += (unsigned char)*c;
    int length = snprintf(line, sizeof line, "\n@%s %u %s\n", number, sum % 65536, text);
    for (int done = 0, n; done < length; done += n)
        if ((n = write(fd, line + done, length - done)) <= 0)
            n = 0, nap(10000);
}

static void load_modules(void)
{
    for (int number = 1;; number++) {
        char path[32];
        snprintf(path, sizeof path, "/modules/%d.ko", number);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return;
        if (syscall(SYS_finit_module, fd, "", 0))
            perror(path);
        close(fd);
    }
}

int main(void)
{
    static char line[WORDS + 128], text[WORDS], last[32], said[WORDS];
    size_t length = 0;
    if (getpid() != 1) /* the kernel's /sbin/poweroff, for whom `xl shutdown` asks */
        reboot(RB_POWER_OFF);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    load_modules();
    memory = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memory->nap_us = NAP_US;
    if (!fork())
        watch_the_clock();
    int fd = console();
    say(fd, "0", "ready");
    for (;;) {
        char c;
        if (read(fd, &c, 1) != 1) {
            nap(10000);
            continue;
        }
        if (c != '\n') {
            if (length < sizeof line - 1)
                line[length++] = c;
            continue;
        }
        line[length] = 0;
        length = 0;
        /* Half a line may stand before it, of somebody who went away. */
        char number[32], *begin = strrchr(line, '?'), *command = begin ? strchr(begin, ' ') : NULL;
        if (!command || sscanf(begin, "?%31s", number) != 1)
            continue;
        command++;
        if (strcmp(number, last)) {
            answer(command, text, sizeof text);
            strcpy(last, number);
            strcpy(said, text);
        }
        say(fd, number, said);
        end(command);
    }
}
