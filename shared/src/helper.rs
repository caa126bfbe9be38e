//! The helpers of the kernel that change something outside of the program and its maps.
//!
//! The kernel numbers its 211 helpers in `enum bpf_func_id`
//! ([include/uapi/linux/bpf.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/bpf.h)) and adds no more: newer
//! functions for programs are kfuncs. bpf-helpers(7) describes them.

/// What a helper changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The bytes, metadata, checksums or destination of a packet or message.
    Packet,
    /// The options, address or maps of a socket, or which socket receives a packet.
    Socket,
    /// The result of a function or system call.
    ReturnValue,
    /// The memory of a process.
    UserMemory,
    /// Other processes: signals, descriptors, execution, key presses.
    Processes,
    /// The kernel: further programs and maps, settings.
    Kernel,
}

impl Changes {
    pub const ALL: [Changes; 6] = [
        Changes::UserMemory,
        Changes::Processes,
        Changes::ReturnValue,
        Changes::Kernel,
        Changes::Packet,
        Changes::Socket,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Changes::Packet => "packet",
            Changes::Socket => "socket",
            Changes::ReturnValue => "return_value",
            Changes::UserMemory => "user_memory",
            Changes::Processes => "processes",
            Changes::Kernel => "kernel",
        }
    }
}

/// A helper that changes something.
#[derive(Clone, Copy, Debug)]
pub struct Helper {
    /// `BPF_FUNC_*`.
    pub number: u8,
    /// The name in the kernel's UAPI, without `bpf_`.
    pub name: &'static str,
    pub changes: Changes,
    /// The functions of the kernel. Which one a program calls depends on its type.
    pub functions: &'static [&'static str],
}

const fn of(number: u8, name: &'static str, changes: Changes, functions: &'static [&'static str]) -> Helper {
    Helper { number, name, changes, functions }
}

/// The helpers that change something. A bit of a set of helpers is the index here, so elements are only appended.
///
/// `redirect_map` has a function for each type of map: the verifier replaces the helper by them (5.13+).
pub const HELPERS: [Helper; 59] = [
    of(36, "probe_write_user", Changes::UserMemory, &["bpf_probe_write_user"]),
    of(58, "override_return", Changes::ReturnValue, &["bpf_override_return"]),
    of(109, "send_signal", Changes::Processes, &["bpf_send_signal"]),
    of(117, "send_signal_thread", Changes::Processes, &["bpf_send_signal_thread"]),
    of(166, "sys_bpf", Changes::Kernel, &["bpf_sys_bpf"]),
    of(168, "sys_close", Changes::Processes, &["bpf_sys_close"]),
    of(187, "set_retval", Changes::ReturnValue, &["bpf_set_retval"]),
    of(104, "sysctl_set_new_value", Changes::Kernel, &["bpf_sysctl_set_new_value"]),
    of(159, "bprm_opts_set", Changes::Processes, &["bpf_bprm_opts_set"]),
    of(9, "skb_store_bytes", Changes::Packet, &["bpf_skb_store_bytes"]),
    of(190, "xdp_store_bytes", Changes::Packet, &["bpf_xdp_store_bytes"]),
    of(13, "clone_redirect", Changes::Packet, &["bpf_clone_redirect"]),
    of(23, "redirect", Changes::Packet, &["bpf_redirect", "bpf_xdp_redirect"]),
    of(152, "redirect_neigh", Changes::Packet, &["bpf_redirect_neigh"]),
    of(155, "redirect_peer", Changes::Packet, &["bpf_redirect_peer"]),
    of(
        49,
        "setsockopt",
        Changes::Socket,
        &["bpf_sk_setsockopt", "bpf_sock_addr_setsockopt", "bpf_sock_ops_setsockopt", "bpf_unlocked_sk_setsockopt"],
    ),
    of(90, "msg_push_data", Changes::Packet, &["bpf_msg_push_data"]),
    of(10, "l3_csum_replace", Changes::Packet, &["bpf_l3_csum_replace"]),
    of(11, "l4_csum_replace", Changes::Packet, &["bpf_l4_csum_replace"]),
    of(40, "csum_update", Changes::Packet, &["bpf_csum_update"]),
    of(135, "csum_level", Changes::Packet, &["bpf_csum_level"]),
    of(18, "skb_vlan_push", Changes::Packet, &["bpf_skb_vlan_push"]),
    of(19, "skb_vlan_pop", Changes::Packet, &["bpf_skb_vlan_pop"]),
    of(21, "skb_set_tunnel_key", Changes::Packet, &["bpf_skb_set_tunnel_key"]),
    of(30, "skb_set_tunnel_opt", Changes::Packet, &["bpf_skb_set_tunnel_opt"]),
    of(31, "skb_change_proto", Changes::Packet, &["bpf_skb_change_proto"]),
    of(32, "skb_change_type", Changes::Packet, &["bpf_skb_change_type"]),
    of(38, "skb_change_tail", Changes::Packet, &["bpf_skb_change_tail", "sk_skb_change_tail"]),
    of(43, "skb_change_head", Changes::Packet, &["bpf_skb_change_head", "sk_skb_change_head"]),
    of(50, "skb_adjust_room", Changes::Packet, &["bpf_skb_adjust_room", "sk_skb_adjust_room"]),
    of(97, "skb_ecn_set_ce", Changes::Packet, &["bpf_skb_ecn_set_ce"]),
    of(192, "skb_set_tstamp", Changes::Packet, &["bpf_skb_set_tstamp"]),
    of(41, "set_hash_invalid", Changes::Packet, &["bpf_set_hash_invalid"]),
    of(48, "set_hash", Changes::Packet, &["bpf_set_hash"]),
    of(44, "xdp_adjust_head", Changes::Packet, &["bpf_xdp_adjust_head"]),
    of(65, "xdp_adjust_tail", Changes::Packet, &["bpf_xdp_adjust_tail"]),
    of(54, "xdp_adjust_meta", Changes::Packet, &["bpf_xdp_adjust_meta"]),
    of(
        51,
        "redirect_map",
        Changes::Packet,
        &["bpf_xdp_redirect_map", "dev_map_redirect", "dev_hash_map_redirect", "cpu_map_redirect", "xsk_map_redirect"],
    ),
    of(52, "sk_redirect_map", Changes::Packet, &["bpf_sk_redirect_map"]),
    of(72, "sk_redirect_hash", Changes::Packet, &["bpf_sk_redirect_hash"]),
    of(60, "msg_redirect_map", Changes::Packet, &["bpf_msg_redirect_map"]),
    of(71, "msg_redirect_hash", Changes::Packet, &["bpf_msg_redirect_hash"]),
    of(91, "msg_pop_data", Changes::Packet, &["bpf_msg_pop_data"]),
    of(73, "lwt_push_encap", Changes::Packet, &["bpf_lwt_in_push_encap", "bpf_lwt_xmit_push_encap"]),
    of(74, "lwt_seg6_store_bytes", Changes::Packet, &["bpf_lwt_seg6_store_bytes"]),
    of(75, "lwt_seg6_adjust_srh", Changes::Packet, &["bpf_lwt_seg6_adjust_srh"]),
    of(76, "lwt_seg6_action", Changes::Packet, &["bpf_lwt_seg6_action"]),
    of(143, "store_hdr_opt", Changes::Packet, &["bpf_sock_ops_store_hdr_opt"]),
    of(144, "reserve_hdr_opt", Changes::Packet, &["bpf_sock_ops_reserve_hdr_opt"]),
    of(64, "bind", Changes::Socket, &["bpf_bind"]),
    of(124, "sk_assign", Changes::Socket, &["bpf_sk_assign", "bpf_sk_lookup_assign"]),
    of(82, "sk_select_reuseport", Changes::Socket, &["sk_select_reuseport"]),
    of(53, "sock_map_update", Changes::Socket, &["bpf_sock_map_update"]),
    of(70, "sock_hash_update", Changes::Socket, &["bpf_sock_hash_update"]),
    of(59, "sock_ops_cb_flags_set", Changes::Socket, &["bpf_sock_ops_cb_flags_set"]),
    of(116, "tcp_send_ack", Changes::Socket, &["bpf_tcp_send_ack"]),
    of(77, "rc_repeat", Changes::Processes, &["bpf_rc_repeat"]),
    of(78, "rc_keydown", Changes::Processes, &["bpf_rc_keydown"]),
    of(92, "rc_pointer_rel", Changes::Processes, &["bpf_rc_pointer_rel"]),
];

/// The functions of all [`HELPERS`], each with the index of its helper.
pub fn functions() -> impl Iterator<Item = (&'static str, usize)> {
    let each = |(index, helper): (usize, &Helper)| helper.functions.iter().map(move |function| (*function, index));
    const { &HELPERS }.iter().enumerate().flat_map(each)
}

/// The number of [`functions`].
pub const FUNCTIONS: usize = {
    let (mut count, mut index) = (0, 0);
    while index < HELPERS.len() {
        count += HELPERS[index].functions.len();
        index += 1;
    }
    count
};

/// The bit of `bpf_probe_write_user`.
pub const PROBE_WRITE_USER: u64 = 1;

/// The number of `bpf_tail_call`, which has no function: the verifier replaces its call by the instruction [`TAIL_CALL`].
pub const TAIL_CALL_NUMBER: i32 = 12;

/// The code of an instruction that continues with another program (`BPF_JMP | BPF_TAIL_CALL`, include/linux/filter.h). bpf(2)
/// shows it as a call of [`TAIL_CALL_NUMBER`].
pub const TAIL_CALL: u8 = 0xf5;

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::collections::BTreeMap;
    use std::string::String;
    use std::vec::Vec;

    /// The helpers that change nothing outside of the program and its maps. Some give memory that a program can then write
    /// (`skb_pull_data`, `dynptr_data`), or have it written later.
    const OTHERS: &str = "\
        map_lookup_elem map_update_elem map_delete_elem probe_read ktime_get_ns trace_printk get_prandom_u32 \
        get_smp_processor_id get_current_pid_tgid get_current_uid_gid get_current_comm get_cgroup_classid \
        skb_get_tunnel_key perf_event_read get_route_realm perf_event_output skb_load_bytes get_stackid csum_diff \
        skb_get_tunnel_opt skb_under_cgroup get_hash_recalc get_current_task current_task_under_cgroup skb_pull_data \
        get_numa_node_id probe_read_str get_socket_cookie get_socket_uid perf_event_read_value perf_prog_read_value \
        getsockopt msg_apply_bytes msg_cork_bytes msg_pull_data skb_get_xfrm_state get_stack skb_load_bytes_relative \
        fib_lookup skb_cgroup_id get_current_cgroup_id get_local_storage skb_ancestor_cgroup_id sk_lookup_tcp \
        sk_lookup_udp sk_release map_push_elem map_pop_elem map_peek_elem spin_lock spin_unlock sk_fullsock tcp_sock \
        get_listener_sock skc_lookup_tcp tcp_check_syncookie sysctl_get_name sysctl_get_current_value \
        sysctl_get_new_value strtol strtoul sk_storage_get sk_storage_delete tcp_gen_syncookie skb_output \
        probe_read_user probe_read_kernel probe_read_user_str probe_read_kernel_str jiffies64 read_branch_records \
        get_ns_current_pid_tgid xdp_output get_netns_cookie get_current_ancestor_cgroup_id ktime_get_boot_ns seq_printf \
        seq_write sk_cgroup_id sk_ancestor_cgroup_id ringbuf_output ringbuf_reserve ringbuf_submit ringbuf_discard \
        ringbuf_query skc_to_tcp6_sock skc_to_tcp_sock skc_to_tcp_timewait_sock skc_to_tcp_request_sock skc_to_udp6_sock \
        get_task_stack load_hdr_opt inode_storage_get inode_storage_delete d_path copy_from_user snprintf_btf \
        seq_printf_btf skb_cgroup_classid per_cpu_ptr this_cpu_ptr task_storage_get task_storage_delete \
        get_current_task_btf ktime_get_coarse_ns ima_inode_hash sock_from_file check_mtu for_each_map_elem snprintf \
        btf_find_by_name_kind timer_init timer_set_callback timer_start timer_cancel get_func_ip get_attach_cookie \
        task_pt_regs get_branch_snapshot trace_vprintk skc_to_unix_sock kallsyms_lookup_name find_vma loop strncmp \
        get_func_arg get_func_ret get_func_arg_cnt get_retval xdp_get_buff_len xdp_load_bytes copy_from_user_task \
        ima_file_hash kptr_xchg map_lookup_percpu_elem skc_to_mptcp_sock dynptr_from_mem ringbuf_reserve_dynptr \
        ringbuf_submit_dynptr ringbuf_discard_dynptr dynptr_read dynptr_write dynptr_data tcp_raw_gen_syncookie_ipv4 \
        tcp_raw_gen_syncookie_ipv6 tcp_raw_check_syncookie_ipv4 tcp_raw_check_syncookie_ipv6 ktime_get_tai_ns \
        user_ringbuf_drain cgrp_storage_get cgrp_storage_delete";

    #[test]
    fn each_bit_belongs_to_one_helper() {
        assert!(HELPERS.len() <= 64, "a set of helpers has 64 bits");
        assert_eq!(HELPERS[PROBE_WRITE_USER.trailing_zeros() as usize].name, "probe_write_user");
        let names: BTreeMap<_, _> = HELPERS.iter().map(|helper| (helper.name, helper.number)).collect();
        let numbers: BTreeMap<_, _> = HELPERS.iter().map(|helper| (helper.number, helper.name)).collect();
        let symbols: BTreeMap<_, _> = functions().collect();
        assert_eq!((names.len(), numbers.len()), (HELPERS.len(), HELPERS.len()));
        assert_eq!(symbols.len(), functions().count(), "each function belongs to one helper");
        assert_eq!(HELPERS.iter().filter(|helper| Changes::ALL.contains(&helper.changes)).count(), HELPERS.len());
    }

    /// The names of `__BPF_FUNC_MAPPER` in a header, each with its number.
    fn mapper(header: &str) -> Vec<(String, usize)> {
        let entries = header.lines().filter_map(|line| line.trim().strip_prefix("FN("));
        let name = |entry: &str| entry.split([',', ')']).next().map(String::from);
        entries.filter_map(name).enumerate().map(|(number, name)| (name, number)).collect()
    }

    #[test]
    fn each_helper_of_the_kernel_is_in_the_table_or_changes_nothing() {
        let changing = HELPERS.iter().map(|helper| (helper.name, helper.number));
        let mut all: BTreeMap<_, Option<u8>> = changing.map(|(name, number)| (name, Some(number))).collect();
        let (unspecified, tail_call) = (("unspec", Some(0)), ("tail_call", Some(TAIL_CALL_NUMBER as u8)));
        all.extend(OTHERS.split_whitespace().map(|name| (name, None)).chain([unspecified, tail_call]));
        assert_eq!(all.len(), 212, "no helper is in both");
        let header = std::fs::read_to_string("/usr/include/linux/bpf.h").unwrap_or_default();
        for (name, number) in mapper(&header) {
            let known = all.get(&*name).unwrap_or_else(|| panic!("helper {number} {name} is not in the table"));
            let is_right = known.is_none_or(|known| usize::from(known) == number);
            assert!(is_right, "{name} has number {number}, not {known:?}");
        }
        if header.is_empty() {
            std::eprintln!("not checked: /usr/include/linux/bpf.h cannot be read");
        }
    }
}
