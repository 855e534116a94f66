/* Preloaded into a server that can only listen on every address (Orthanc before 1.12): makes it loopback. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real)
        real = (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind");
    if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in loopback = *(const struct sockaddr_in *)address;
        loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return real(fd, (const struct sockaddr *)&loopback, sizeof loopback);
    }
    if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 loopback = *(const struct sockaddr_in6 *)address;
        loopback.sin6_addr = in6addr_loopback;
        return real(fd, (const struct sockaddr *)&loopback, sizeof loopback);
    }
    return real(fd, address, length);
}
