/*
 * sandbox: see sandbox.h. Every step says whether its failure matters.
 *
 * Two filters. A converter of ours needs memory, its two pipes and the clock: everything else is refused (a list of what
 * is allowed). An external tool must be executed and loaded first, and libraries differ between releases: there a
 * list of what is refused. Refused calls fail with EPERM, so that a tool can end in an error of its own. What the
 * second list leaves open, reading files, is Landlock's part: only the folders of programs and libraries are readable, so
 * neither the store nor the settings nor another process's environment can be read.
 *
 * Rejected: a container or a namespace for each document (milliseconds each, and mostly not allowed inside
 * containers); libseccomp (two dozen lines of BPF do not need a library); running the tool under another user by
 * sudo (needs a set-up by hand).
 */
#include "jobs/convert/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/auto.h"
#include "common/base/str.h"

#define NOBODY 65534
#define FILES_MAX 32
#define FILTER_MAX 512
#define X32_BIT 0x40000000U

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#define ARCH 0U /* no filter of ours */
#endif

/* ---- who we are ---- */

/* Best effort: a container may already run as somebody without rights. */
static void
drop_rights(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	if (geteuid() == 0) {
		for (unsigned long cap = 0; cap < 64; cap++)
			(void)prctl(PR_CAPBSET_DROP, cap, 0UL, 0UL, 0UL);
		(void)prctl(PR_SET_SECUREBITS,
			    (unsigned long)(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED), 0UL, 0UL, 0UL);
		if (setgroups(0, NULL) == 0 && setresgid(NOBODY, NOBODY, NOBODY) == 0)
			(void)!setresuid(NOBODY, NOBODY, NOBODY);
	}
	(void)prctl(PR_CAP_AMBIENT, (unsigned long)PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL);
	(void)syscall(SYS_capset, &header, none);
}

/* The first to go when memory runs out: not the worker. */
static void
offer_to_oom_killer(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, "1000", 4);
	(void)close(fd);
}

/* After the change of user, which forgets it. */
static bool
die_with_parent(pid_t parent, struct err *err)
{
	if (prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL, 0UL, 0UL, 0UL) != 0)
		return err_errno(err, errno, "bind the converter to its parent");
	if (parent != 0 && getppid() != parent)
		_exit(1); /* it died before */
	return true;
}

/* ---- limits ---- */

static bool
limit(__rlimit_resource_t what, int64_t soft, int64_t hard)
{
	const struct rlimit wanted = { .rlim_cur = (rlim_t)soft, .rlim_max = (rlim_t)hard };

	return setrlimit(what, &wanted) == 0;
}

static bool
set_limits(const struct sandbox *sandbox, struct err *err)
{
	if (!limit(RLIMIT_CPU, sandbox->cpu_s, sandbox->cpu_s + 1) || !limit(RLIMIT_FSIZE, 0, 0) ||
	    !limit(RLIMIT_NOFILE, FILES_MAX, FILES_MAX) || !limit(RLIMIT_CORE, 0, 0) ||
	    !limit(RLIMIT_NPROC, 0, 0))
		return err_set(err, ERR_CONFIG, "cannot limit the converter: %s",
			       strerrordesc_np(errno));
	return true;
}

/* ---- files ---- */

static void
allow_reading(int ruleset, const char *folder)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
				  LANDLOCK_ACCESS_FS_READ_DIR,
		.parent_fd = open(folder, O_PATH | O_CLOEXEC),
	};

	if (rule.parent_fd < 0)
		return;
	/* of a file only the rights that files have are taken */
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
		rule.allowed_access &= ~(__u64)LANDLOCK_ACCESS_FS_READ_DIR;
		(void)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	}
	(void)close(rule.parent_fd);
}

/* Where the kernel has it: the rest of the sandbox does not depend on it. */
static void
close_file_system(const char *tool)
{
	static const char *const readable[] = { "/usr",	  "/lib",    "/lib64",
						"/lib32", "/libx32", "/etc/ld.so.cache" };
	const struct landlock_ruleset_attr all = {
		/* every right of the first version: later ones add to it */
		.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
	};
	/* the first member alone: what older kernels know */
	int ruleset =
		(int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all.handled_access_fs), 0);

	if (ruleset < 0)
		return;
	for (size_t i = 0; tool && i < ARRAY_SIZE(readable); i++)
		allow_reading(ruleset, readable[i]);
	if (tool)
		allow_reading(ruleset, tool);
	(void)syscall(SYS_landlock_restrict_self, ruleset, 0);
	(void)close(ruleset);
}

/* ---- system calls ---- */

/* What a converter of ours needs. */
static const int allowed_calls[] = {
	SYS_read,
	SYS_write,
	SYS_readv,
	SYS_writev,
	SYS_mmap,
	SYS_munmap,
	SYS_mremap,
	SYS_mprotect,
	SYS_brk,
	SYS_madvise,
	SYS_futex,
	SYS_exit,
	SYS_exit_group,
	SYS_clock_gettime,
	SYS_gettimeofday,
	SYS_rt_sigaction,
	SYS_rt_sigreturn,
	SYS_rt_sigprocmask,
	SYS_sigaltstack,
	SYS_lseek,
	SYS_fstat,
	SYS_newfstatat,
	SYS_getpid,
	SYS_gettid,
	SYS_getrandom,
	SYS_sched_yield,
	SYS_close,
	SYS_sysinfo,
	SYS_sched_getaffinity,
	SYS_restart_syscall,
	SYS_nanosleep,
	SYS_clock_nanosleep,
};

/* What no converter needs, and a hijacked one might. */
static const int refused_calls[] = {
	/* the network and other talk */
	SYS_socket,
	SYS_socketpair,
	SYS_connect,
	SYS_bind,
	SYS_listen,
	SYS_accept,
	SYS_accept4,
	SYS_sendto,
	SYS_sendmsg,
	SYS_sendmmsg,
	SYS_recvfrom,
	SYS_recvmsg,
	SYS_recvmmsg,
	SYS_shmget,
	SYS_shmat,
	SYS_msgget,
	SYS_semget,
	SYS_mq_open,
	SYS_io_uring_setup,
	SYS_io_uring_enter,
	SYS_io_uring_register,
	/* other processes */
	SYS_clone,
	SYS_clone3,
	SYS_ptrace,
	SYS_process_vm_readv,
	SYS_process_vm_writev,
	SYS_kill,
	SYS_tkill,
	SYS_rt_sigqueueinfo,
	SYS_rt_tgsigqueueinfo,
	SYS_pidfd_open,
	SYS_pidfd_getfd,
	SYS_pidfd_send_signal,
	SYS_setpgid,
	SYS_setsid,
	SYS_setpriority,
	SYS_kcmp,
	/* files: changing them */
	SYS_openat2,
	SYS_unlinkat,
	SYS_mkdirat,
	SYS_mknodat,
	SYS_linkat,
	SYS_symlinkat,
	SYS_renameat2,
	SYS_fchmod,
	SYS_fchmodat,
	SYS_fchown,
	SYS_fchownat,
	SYS_truncate,
	SYS_utimensat,
	SYS_setxattr,
	SYS_lsetxattr,
	SYS_fsetxattr,
	SYS_removexattr,
	SYS_open_by_handle_at,
	SYS_name_to_handle_at,
	SYS_memfd_create,
	SYS_inotify_init1,
	SYS_fanotify_init,
	/* the system */
	SYS_mount,
	SYS_umount2,
	SYS_pivot_root,
	SYS_chroot,
	SYS_setns,
	SYS_unshare,
	SYS_bpf,
	SYS_perf_event_open,
	SYS_userfaultfd,
	SYS_keyctl,
	SYS_add_key,
	SYS_request_key,
	SYS_init_module,
	SYS_finit_module,
	SYS_delete_module,
	SYS_kexec_load,
	SYS_reboot,
	SYS_swapon,
	SYS_swapoff,
	SYS_sethostname,
	SYS_setdomainname,
	SYS_acct,
	SYS_quotactl,
	SYS_settimeofday,
	SYS_clock_settime,
	SYS_adjtimex,
	SYS_clock_adjtime,
	SYS_personality,
	SYS_setuid,
	SYS_setgid,
	SYS_setreuid,
	SYS_setregid,
	SYS_setresuid,
	SYS_setresgid,
	SYS_setgroups,
	SYS_capset,
	SYS_seccomp,
#ifdef __x86_64__
	SYS_fork,
	SYS_vfork,
	SYS_creat,
	SYS_unlink,
	SYS_rmdir,
	SYS_mkdir,
	SYS_mknod,
	SYS_link,
	SYS_symlink,
	SYS_rename,
	SYS_renameat,
	SYS_chmod,
	SYS_chown,
	SYS_lchown,
	SYS_utime,
	SYS_utimes,
	SYS_futimesat,
	SYS_inotify_init,
	SYS_iopl,
	SYS_ioperm,
	SYS_modify_ldt,
	SYS_kexec_file_load,
#endif
};

struct program {
	struct sock_filter code[FILTER_MAX];
	unsigned short len;
};

static void
add(struct program *program, unsigned short code, uint32_t k, uint8_t if_true, uint8_t if_false)
{
	if (program->len < FILTER_MAX)
		program->code[program->len++] = (struct sock_filter){ code, if_true, if_false, k };
}

static void
load(struct program *program, size_t offset)
{
	add(program, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void
answer(struct program *program, uint32_t action)
{
	add(program, BPF_RET | BPF_K, action, 0, 0);
}

#define REFUSE (SECCOMP_RET_ERRNO | (uint32_t)EPERM)
/* the lower half of an argument on little-endian machines, which both processors are */
#define ARGUMENT(n) (offsetof(struct seccomp_data, args) + (n) * sizeof(__u64))

/* The accumulator holds the call's number. */
static void
on_call(struct program *program, int number, uint32_t action)
{
	add(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1);
	answer(program, action);
}

static void
begin_filter(struct program *program)
{
	load(program, offsetof(struct seccomp_data, arch));
	add(program, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	answer(program, SECCOMP_RET_KILL_PROCESS);
	load(program, offsetof(struct seccomp_data, nr));
	add(program, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
	answer(program, SECCOMP_RET_KILL_PROCESS);
}

/* A signal to itself is how a program aborts. */
static void
allow_own_signal(struct program *program)
{
	add(program, BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 4);
	load(program, ARGUMENT(0));
	add(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)getpid(), 0, 1);
	answer(program, SECCOMP_RET_ALLOW);
	answer(program, REFUSE);
}

/* Opening is for reading. */
static void
refuse_writing(struct program *program, int number, unsigned flags_argument)
{
	const uint32_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;

	add(program, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 4);
	load(program, ARGUMENT(flags_argument));
	add(program, BPF_JMP | BPF_JSET | BPF_K, writing, 0, 1);
	answer(program, REFUSE);
	answer(program, SECCOMP_RET_ALLOW);
}

static void
strict_filter(struct program *program)
{
	begin_filter(program);
	for (size_t i = 0; i < ARRAY_SIZE(allowed_calls); i++)
		on_call(program, allowed_calls[i], SECCOMP_RET_ALLOW);
	allow_own_signal(program);
	answer(program, REFUSE);
}

static void
tool_filter(struct program *program)
{
	begin_filter(program);
	for (size_t i = 0; i < ARRAY_SIZE(refused_calls); i++)
		on_call(program, refused_calls[i], REFUSE);
	allow_own_signal(program);
	refuse_writing(program, SYS_openat, 2);
#ifdef SYS_open
	refuse_writing(program, SYS_open, 1);
#endif
	answer(program, SECCOMP_RET_ALLOW);
}

static bool
install_filter(bool tool)
{
	struct program program = { .len = 0 };

	if (ARCH == 0U)
		return false;
	if (tool)
		tool_filter(&program);
	else
		strict_filter(&program);

	const struct sock_fprog filter = { .len = program.len, .filter = program.code };

	return program.len < FILTER_MAX &&
	       prctl(PR_SET_SECCOMP, (unsigned long)SECCOMP_MODE_FILTER, &filter, 0UL, 0UL) == 0;
}

/* ---- all of it ---- */

bool
sandbox_enter(const struct sandbox *sandbox, struct err *err)
{
	bool no_network = false;

	offer_to_oom_killer();
	if (ARCH == 0U) /* needs rights that go next */
		no_network =
			unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
	drop_rights();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0)
		return err_set(err, ERR_CONFIG, "cannot limit the converter: %s",
			       strerrordesc_np(errno));
	if (!die_with_parent(sandbox->parent, err) || !set_limits(sandbox, err))
		return false;
	close_file_system(sandbox->tool);
	/* with a sanitizer only the tool's image, which has none, can live with it */
	if ((!SANITIZED || sandbox->tool) &&
	    !limit(RLIMIT_AS, sandbox->memory_bytes, sandbox->memory_bytes))
		return err_set(err, ERR_CONFIG, "cannot limit the converter's memory: %s",
			       strerrordesc_np(errno));
	if (!install_filter(sandbox->tool != NULL) && !no_network)
		return err_set(err, ERR_CONFIG,
			       "cannot limit the converter: this kernel has no seccomp filter and "
			       "gives no network namespace");
	return true;
}
