// A kernel module that hides a BPF program until it is removed, for hide.rs: `id=ID [table=1] [symbol=1] [iterator=1] [number=1]`.
// scripts/kernel-matrix/module.sh compiles it. What kbuild would add is at the end.
#include <linux/filter.h>
#include <linux/idr.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/vermagic.h>

static unsigned int id;
// What the kernel then lacks: the entry in the table of ids, the name in kallsyms, the entry in the iterator, the id in the program.
static bool table, symbol, iterator, number;
module_param(id, uint, 0);
module_param(table, bool, 0);
module_param(symbol, bool, 0);
module_param(iterator, bool, 0);
module_param(number, bool, 0);

static struct idr *progs;
static spinlock_t *lock;
static struct bpf_prog *hidden;
static void (*add_symbol)(struct bpf_prog *), (*remove_symbol)(struct bpf_prog *);

static noinline void nothing(void) { asm volatile(""); }

// Before bpf_prog_seq_show(seq, prog), which runs the iterator for a program.
static int skip(struct kprobe *probe, struct pt_regs *regs)
{
	if (regs->si != (unsigned long)hidden)
		return 0;
	regs->ax = 0;
	regs->ip = (unsigned long)nothing;
	return 1;
}

static struct kprobe show = { .symbol_name = "bpf_prog_seq_show", .pre_handler = skip };

static int __init begin(void)
{
	struct kprobe finder = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long (*find)(const char *);
	int error = register_kprobe(&finder);

	if (error)
		return error;
	find = (void *)finder.addr;
	unregister_kprobe(&finder);
	progs = (void *)find("prog_idr");
	lock = (void *)find("prog_idr_lock");
	add_symbol = (void *)find("bpf_prog_kallsyms_add");
	remove_symbol = (void *)find("bpf_prog_kallsyms_del");
	if (!progs || !lock || !add_symbol || !remove_symbol)
		return -ENOENT;
	hidden = idr_find(progs, id);
	if (!hidden)
		return -ESRCH;
	error = iterator ? register_kprobe(&show) : 0;
	if (error)
		return error;
	if (symbol) {
		remove_symbol(hidden);
		INIT_LIST_HEAD(&hidden->aux->ksym.lnode);
	}
	spin_lock_bh(lock);
	if (table)
		idr_remove(progs, id);
	if (number)
		hidden->aux->id = 0;
	spin_unlock_bh(lock);
	return 0;
}

static void __exit end(void)
{
	spin_lock_bh(lock);
	hidden->aux->id = id;
	if (table)
		WARN_ON(idr_alloc(progs, hidden, id, id + 1, GFP_ATOMIC) != id);
	spin_unlock_bh(lock);
	if (symbol)
		add_symbol(hidden);
	if (iterator)
		unregister_kprobe(&show);
}

module_init(begin);
module_exit(end);
MODULE_LICENSE("GPL");
MODULE_INFO(vermagic, VERMAGIC_STRING);
MODULE_INFO(name, KBUILD_MODNAME);
// Else the kernel warns of missing mitigations.
MODULE_INFO(retpoline, "Y");
struct module __this_module __section(".gnu.linkonce.this_module") = {
	.name = KBUILD_MODNAME,
	.init = init_module,
	.exit = cleanup_module,
};
