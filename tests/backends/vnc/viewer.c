/* A client of LibVNCClient that does what its standard input says, a line each:
 *   shot FILE      have the whole screen sent, write it as PPM, and say so
 *   held FILE      write what it has of the screen, and say so
 *   key SYM DOWN   x SYM CODE DOWN (QEMU's extended event)   pointer X Y BUTTONS   size W H
 * HOST PORT ENCODINGS PASSWORD CA are its arguments. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>
#include <rfb/rfbclient.h>

static const char *password, *authority;
static int finished;

static char *get_password(rfbClient *client) { return strdup(password); }

static rfbCredential *get_credential(rfbClient *client, int kind)
{
    rfbCredential *made = calloc(1, sizeof *made);
    made->x509Credential.x509CACertFile = strdup(authority);
    made->x509Credential.x509CrlVerifyMode = rfbX509CrlVerifyNone;
    return made;
}

static void on_finished(rfbClient *client) { finished = 1; }

static void on_cursor(rfbClient *client, int x, int y, int width, int height, int bytes)
{
    unsigned sum = 0;
    for (int n = 0; n < width * height * bytes; n++) sum = sum * 31 + client->rcSource[n];
    for (int n = 0; n < width * height; n++) sum = sum * 31 + client->rcMask[n];
    printf("cursor %d %d %d %d %u\n", x, y, width, height, sum);
}

static void step(rfbClient *client)
{
    int ready = WaitForMessage(client, 20000);
    if (ready < 0 || (ready && !HandleRFBServerMessage(client))) {
        printf("closed\n");
        exit(3);
    }
}

static void keep(rfbClient *client, const char *path)
{
    FILE *file = fopen(path, "wb");
    fprintf(file, "P6 %d %d 255\n", client->width, client->height);
    for (int n = 0; n < client->width * client->height; n++) fwrite(client->frameBuffer + 4 * n, 3, 1, file);
    fclose(file);
    printf("shot %d %d\n", client->width, client->height);
}

static void shoot(rfbClient *client, const char *path)
{
    finished = 0;
    SendFramebufferUpdateRequest(client, 0, 0, client->width, client->height, FALSE);
    while (!finished) step(client);
    keep(client, path);
}

static void obey(rfbClient *client, char *line)
{
    char path[4096];
    int a, b, c;
    if (sscanf(line, "shot %4000s", path) == 1) shoot(client, path);
    else if (sscanf(line, "held %4000s", path) == 1) keep(client, path);
    else if (sscanf(line, "key %i %d", &a, &b) == 2) SendKeyEvent(client, a, b);
    else if (sscanf(line, "x %i %i %d", &a, &b, &c) == 3) printf("extended %d\n", SendExtendedKeyEvent(client, a, b, c));
    else if (sscanf(line, "pointer %d %d %d", &a, &b, &c) == 3) SendPointerEvent(client, a, b, c);
    else if (sscanf(line, "size %d %d", &a, &b) == 2) printf("size %d\n", SendExtDesktopSize(client, a, b));
}

int main(int count, char **words)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    rfbEnableClientLogging = FALSE;
    rfbClient *client = rfbGetClient(8, 3, 4);
    client->serverHost = strdup(words[1]);
    client->serverPort = atoi(words[2]);
    client->appData.encodingsString = words[3];
    client->appData.compressLevel = 1;
    client->appData.enableJPEG = FALSE;
    client->appData.useRemoteCursor = TRUE;
    client->canHandleNewFBSize = TRUE;
    password = words[4];
    authority = words[5];
    client->GetPassword = get_password;
    client->GetCredential = get_credential;
    client->FinishedFrameBufferUpdate = on_finished;
    client->GotCursorShape = on_cursor;
    if (!rfbInitClient(client, NULL, NULL)) {
        printf("refused\n");
        return 2;
    }
    printf("welcome %d %d %s\n", client->width, client->height, client->desktopName);
    for (;;) {
        fd_set ready;
        FD_ZERO(&ready);
        FD_SET(0, &ready);
        FD_SET(client->sock, &ready);
        select(client->sock + 1, &ready, NULL, NULL, NULL);
        if (FD_ISSET(client->sock, &ready) || client->buffered) step(client);
        if (FD_ISSET(0, &ready)) {
            char line[4200];
            size_t length = 0;
            while (length < sizeof line - 1 && read(0, line + length, 1) == 1 && line[length] != '\n') length++;
            if (!length) return 0;
            line[length] = 0;
            obey(client, line);
        }
    }
}
