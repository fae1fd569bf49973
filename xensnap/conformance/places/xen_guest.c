/* The only program of a guest that tries a Xen host: its init. It needs a Linux kernel that finds Xen's disks.
 *
 * Each round counts n in memory and writes it to one of 16 sectors of every disk and to one of 64 pages of memory,
 * after a look that each still holds what was written there 16 or 64 rounds ago. A disk that is older or newer than
 * the memory, even by one round, is so noticed within 16 rounds, wherever the guest was stopped. Every fourth round it
 * says on its console `n=00000004 bad=00000000` (hexadecimal). What the disks hold at the start it ignores.
 *
 * The words `disks=xvda,xvdb` of the kernel's command line, which the kernel hands on as a variable, name its disks.
 *
 *     mkdir -p guest/dev guest/modules
 *     gcc -O2 -static -o guest/init xen_guest.c
 *     number=0
 *     modprobe --show-depends xen-blkfront | while read -r word file; do      # of the guest's kernel; none if built in
 *         [ "$word" != insmod ] || { number=$((number + 1)); cp "$file" guest/modules/$number.ko; }
 *     done
 *     (cd guest && find . | cpio --quiet -o -H newc | gzip) > guest.img
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { SECTOR = 512, SLOTS = 16, SLOT = 65536, FIRST = 4096, PAGE = 4096, PAGES = 64, DISKS = 8, NAP_MS = 5 };

static uint32_t n, bad;
static volatile uint32_t pages[PAGES][PAGE / 4] __attribute__((aligned(PAGE)));

static void nap(void)
{
    struct timespec t = { 0, NAP_MS * 1000000l };
    nanosleep(&t, NULL);
}

/* Modules that are compressed have to be unpacked before. */
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

static int open_patiently(const char *name, int mode)
{
    char path[64];
    int fd;
    snprintf(path, sizeof path, "/dev/%s", name);
    while ((fd = open(path, mode)) < 0)
        nap();
    return fd;
}

static int open_console(void)
{
    int fd = open_patiently("hvc0", O_RDWR | O_NOCTTY);
    struct termios mode;
    if (!tcgetattr(fd, &mode)) {
        cfmakeraw(&mode);
        tcsetattr(fd, TCSANOW, &mode);
    }
    return fd;
}

static void say(int fd, const char *text)
{
    size_t length = strlen(text);
    for (size_t done = 0; done < length;) {
        ssize_t written = write(fd, text + done, length - done);
        if (written > 0)
            done += written;
        else
            nap();
    }
}

static void look_at_disk(int fd)
{
    static uint32_t sector[SECTOR / 4] __attribute__((aligned(PAGE)));
    off_t at = FIRST + (off_t)(n % SLOTS) * SLOT;
    if (pread(fd, sector, SECTOR, at) != SECTOR)
        bad++;
    else if (n > SLOTS && (sector[0] != n - SLOTS || sector[SECTOR / 4 - 1] != n - SLOTS))
        bad++;
    for (int i = 0; i < SECTOR / 4; i++)
        sector[i] = n;
    if (pwrite(fd, sector, SECTOR, at) != SECTOR)
        bad++;
}

static void look_at_memory(void)
{
    volatile uint32_t *page = pages[n % PAGES];
    if (n > PAGES && *page != n - PAGES)
        bad++;
    *page = n;
}

int main(void)
{
    char names[128] = "", line[32];
    int fds[DISKS], count = 0;
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    load_modules();
    int console = open_console();
    snprintf(names, sizeof names, "%s", getenv("disks") ? getenv("disks") : "");
    for (char *name = strtok(names, ","); name && count < DISKS; name = strtok(NULL, ","))
        fds[count++] = open_patiently(name, O_RDWR | O_DIRECT | O_DSYNC);
    for (;; nap()) {
        n++;
        for (int disk = 0; disk < count; disk++)
            look_at_disk(fds[disk]);
        look_at_memory();
        if (n % 4 == 0) {
            snprintf(line, sizeof line, "n=%08x bad=%08x\r\n", n, bad);
            say(console, line);
        }
    }
}
