/* Sockets of the family AF_VSOCK: "vsock echo PORT" sends one visitor's bytes back to it;
   "vsock dial PORT" sends its input to a port of the host, and prints what comes back. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void pour(int from, int to)
{
    static char data[65536];
    ssize_t count;

    while ((count = read(from, data, sizeof data)) > 0)
        for (ssize_t done = 0, now; done < count; done += now)
            if ((now = write(to, data + done, count - done)) < 0)
                fail("write");
    if (count < 0)
        fail("read");
}

int main(int argc, char **argv)
{
    struct sockaddr_vm place = {
        .svm_family = AF_VSOCK,
        .svm_cid = strcmp(argv[1], "echo") ? VMADDR_CID_HOST : VMADDR_CID_ANY,
        .svm_port = atoi(argv[2]),
    };
    int end = socket(AF_VSOCK, SOCK_STREAM, 0);

    if (end < 0)
        fail("socket");
    if (place.svm_cid == VMADDR_CID_ANY) {
        if (bind(end, (void *)&place, sizeof place) || listen(end, 1))
            fail("listen");
        puts("listening");
        fflush(stdout);
        int visitor = accept(end, NULL, NULL);
        pour(visitor, visitor);
        return 0;
    }
    if (connect(end, (void *)&place, sizeof place))
        fail("connect");
    pour(0, end);
    shutdown(end, SHUT_WR);
    pour(end, 1);
    return 0;
}
