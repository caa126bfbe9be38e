-- who opened /etc/shadow anywhere
SELECT host, comm, err, count(*) FROM events WHERE kind = 'open' AND path = '/etc/shadow' GROUP BY host, comm, err ORDER BY host, comm, err;
-- failures that only some hosts have
SELECT kind, comm, path, err, min(host), count(*) FROM events WHERE err IS NOT NULL GROUP BY kind, comm, path, err HAVING count(DISTINCT host) < (SELECT count(DISTINCT host) FROM events) ORDER BY kind, comm, path, err;
-- binaries seen on one host only
SELECT filename, min(host), count(*) FROM events WHERE kind = 'exec' GROUP BY filename HAVING count(DISTINCT host) = 1 ORDER BY filename;
-- who loaded and attached BPF programs
SELECT host, comm, op, prog_type, prog_name, count(*) FROM events WHERE kind = 'bpf' GROUP BY host, comm, op, prog_type, prog_name ORDER BY host, comm, op, prog_type, prog_name;
-- losses by host
SELECT host, count(*), sum(seen), sum(events), sum(lost) FROM manifest GROUP BY host ORDER BY host;
-- events by host and kind
SELECT host, kind, count(*), min(ns), max(ns) FROM events GROUP BY host, kind ORDER BY host, kind;
-- programs that fail
SELECT host, comm, exit_code, signal, count(*) FROM events WHERE kind = 'exit' AND (exit_code <> 0 OR signal IS NOT NULL) GROUP BY host, comm, exit_code, signal ORDER BY host, comm, exit_code, signal;
-- arguments of a program
SELECT host, ns, argv FROM events WHERE kind = 'exec' AND filename LIKE '%/only-%' ORDER BY host, ns;
-- connections
SELECT host, comm, raddr, rport, outcome, count(*) FROM events WHERE kind = 'tcp' GROUP BY host, comm, raddr, rport, outcome ORDER BY host, comm, raddr, rport, outcome;
-- processes that ran longest
SELECT host, comm, pid, dur_ns FROM events WHERE kind = 'exit' AND dur_ns IS NOT NULL ORDER BY dur_ns DESC, host, pid LIMIT 20;
