"""The system calls that a job may make, by what they are for: each with its number on x86_64 and on aarch64.

Found by watching what Python, torch, torchvision, h5py, ONNX, onnxruntime and TensorFlow do (`strace -f -c` around
whole jobs of each), then completed to families, so that another C library or a newer Python finds the sibling that it
prefers. All others are refused by `seccomp`; the reasons for the most tempting of those are in `tests/sandbox`.
"""

from __future__ import annotations

from typing import Final

#: What is for other machines, as in `name NUMBER NUMBER`.
_NONE: Final = "-"

FILES: Final = """
    read 0 63 | write 1 64 | readv 19 65 | writev 20 66 | pread64 17 67 | pwrite64 18 68 | preadv 295 69 |
    pwritev 296 70 | preadv2 327 286 | pwritev2 328 287 | open 2 - | openat 257 56 | openat2 437 437 |
    creat 85 - | close 3 57 | close_range 436 436 | lseek 8 62 | dup 32 23 | dup2 33 - | dup3 292 24 |
    fcntl 72 25 | flock 73 32 | pipe 22 - | pipe2 293 59 | sendfile 40 71 | copy_file_range 326 285 |
    splice 275 76 | truncate 76 45 | ftruncate 77 46 | fallocate 285 47 | fadvise64 221 223 | readahead 187 213 |
    fsync 74 82 | fdatasync 75 83 | sync_file_range 277 84
"""

# Links and pipes made here are no danger: who takes the results over follows none and opens none.
FOLDERS: Final = """
    stat 4 - | fstat 5 80 | lstat 6 - | newfstatat 262 79 | statx 332 291 | statfs 137 43 | fstatfs 138 44 |
    access 21 - | faccessat 269 48 | faccessat2 439 439 | readlink 89 - | readlinkat 267 78 | getxattr 191 8 |
    lgetxattr 192 9 | fgetxattr 193 10 | listxattr 194 11 | llistxattr 195 12 | flistxattr 196 13 |
    getcwd 79 17 | chdir 80 49 | fchdir 81 50 | getdents 78 - | getdents64 217 61 | mkdir 83 - | mkdirat 258 34 |
    rmdir 84 - | unlink 87 - | unlinkat 263 35 | rename 82 - | renameat 264 38 | renameat2 316 276 | link 86 - |
    linkat 265 37 | symlink 88 - | symlinkat 266 36 | mknod 133 - | mknodat 259 33 | umask 95 166
"""

# Not memfd_create, memfd_secret and shmget: memory that no limit of the address space counts.
MEMORY: Final = """
    brk 12 214 | mmap 9 222 | munmap 11 215 | mremap 25 216 | mprotect 10 226 | msync 26 227 | mincore 27 232 |
    madvise 28 233 | mseal 462 462 | mbind 237 235 | set_mempolicy 238 237 | get_mempolicy 239 236 |
    pkey_alloc 330 289 | pkey_free 331 290 | pkey_mprotect 329 288 | membarrier 324 283
"""

# A model is loaded again in a process of its own, so a job may start some. Not ptrace, process_vm_readv, kcmp,
# setpriority, sched_setscheduler: the affairs of other processes, which a sandbox without namespaces would share.
PROCESSES: Final = """
    fork 57 - | vfork 58 - | execve 59 221 | execveat 322 281 | exit 60 93 | exit_group 231 94 | wait4 61 260 |
    waitid 247 95 | pidfd_open 434 434 | getpid 39 172 | getppid 110 173 | gettid 186 178 | getpgid 121 155 |
    getpgrp 111 - | setpgid 109 154 | getsid 124 156 | setsid 112 157 | getuid 102 174 | geteuid 107 175 |
    getgid 104 176 | getegid 108 177 | getresuid 118 148 | getresgid 120 150 | getgroups 115 158 |
    capget 125 90 | getrusage 98 165 | getrlimit 97 163 | setrlimit 160 164 | times 100 153 | getpriority 140 141
"""

THREADS: Final = """
    set_tid_address 218 96 | set_robust_list 273 99 | rseq 334 293 | arch_prctl 158 - | futex 202 98 |
    futex_waitv 449 449 | futex_wake 454 454 | futex_wait 455 455 | futex_requeue 456 456 | sched_yield 24 124 |
    sched_getaffinity 204 123 | sched_getscheduler 145 120 | sched_getparam 143 121 | sched_getattr 315 275 |
    sched_get_priority_max 146 125 | sched_get_priority_min 147 126 | sched_rr_get_interval 148 127 |
    getcpu 309 168
"""

# To whom is a matter of the process namespace, or of Landlock.
SIGNALS: Final = """
    rt_sigaction 13 134 | rt_sigprocmask 14 135 | rt_sigpending 127 136 | rt_sigsuspend 130 133 |
    rt_sigtimedwait 128 137 | rt_sigreturn 15 139 | rt_sigqueueinfo 129 138 | rt_tgsigqueueinfo 297 240 |
    sigaltstack 131 132 | pause 34 - | restart_syscall 219 128 | kill 62 129 | tkill 200 130 | tgkill 234 131 |
    pidfd_send_signal 424 424 | signalfd 282 - | signalfd4 289 74
"""

TIME: Final = """
    time 201 - | gettimeofday 96 169 | clock_gettime 228 113 | clock_getres 229 114 | clock_nanosleep 230 115 |
    nanosleep 35 101 | alarm 37 - | getitimer 36 102 | setitimer 38 103 | timer_create 222 107 |
    timer_settime 223 110 | timer_gettime 224 108 | timer_getoverrun 225 109 | timer_delete 226 111 |
    timerfd_create 283 85 | timerfd_settime 286 86 | timerfd_gettime 287 87
"""

# There is no socket to be had but a pair, whose ends only the job has: not socket, bind, connect, listen, accept.
WAITING: Final = """
    poll 7 - | ppoll 271 73 | select 23 - | pselect6 270 72 | epoll_create 213 - | epoll_create1 291 20 |
    epoll_ctl 233 21 | epoll_wait 232 - | epoll_pwait 281 22 | epoll_pwait2 441 441 | eventfd 284 - |
    eventfd2 290 19 | sendto 44 206 | recvfrom 45 207 | sendmsg 46 211 | recvmsg 47 212 | sendmmsg 307 269 |
    recvmmsg 299 243 | shutdown 48 210 | getsockname 51 204 | getpeername 52 205 | getsockopt 55 209 |
    setsockopt 54 208
"""

MACHINE: Final = """
    uname 63 160 | sysinfo 99 179 | getrandom 318 278
"""

# Where the job sees the host's own folders, these do nothing, for Landlock does not speak of them; see `seccomp`.
OWNERSHIP: Final = """
    chmod 90 - | fchmod 91 52 | fchmodat 268 53 | fchmodat2 452 452 | chown 92 - | fchown 93 55 | lchown 94 - |
    fchownat 260 54 | utime 132 - | utimes 235 - | futimesat 261 - | utimensat 280 88
"""

#: Allowed with some arguments only; see `seccomp`.
CHECKED: Final = """
    clone 56 220 | prctl 157 167 | ioctl 16 29 | prlimit64 302 261 | sched_setaffinity 203 122 | socketpair 53 199
"""

Numbers = tuple[int | None, int | None]


def read(text: str) -> dict[str, Numbers]:
    """A table as above: name -> number on x86_64, number on aarch64 (None: not there)."""
    rows = (row.split() for row in text.replace("\n", " ").split("|"))
    return {name: (_number(one), _number(two)) for name, one, two in rows}


def _number(word: str) -> int | None:
    return None if word == _NONE else int(word)
