#!/bin/sh
# A small configure: for each feature it compiles and runs a program, and config.h gets the result.

# Whether the program on stdin compiles and runs, as feature $1.
try() {
  cat >conftest.c
  name=$(echo "$1" | tr a-z A-Z | tr -c 'A-Z0-9\n' _)
  if cc -o conftest conftest.c -lm >>config.log 2>&1 && ./conftest >>config.log 2>&1; then
    echo "checking for $1... yes"
    echo "#define HAVE_$name 1" >>config.h
  else
    echo "checking for $1... no"
    echo "/* #undef HAVE_$name */" >>config.h
  fi
  rm -f conftest conftest.c
}

for header in stdio.h stdlib.h string.h unistd.h stdint.h fcntl.h sys/stat.h sys/socket.h netdb.h pthread.h \
  sys/epoll.h linux/bpf.h sys/sdt.h minix/config.h winsock2.h; do
  try "$header" <<END
#include <$header>
int main(void) { return 0; }
END
done

for function in malloc memmem strlcpy openat2 getrandom clock_gettime pipe2 accept4 fork posix_spawn dlopen strtonum \
  arc4random_buf sin explicit_bzero; do
  try "$function" <<END
char $function(void);
int main(void) { return (long)&$function == 0; }
END
done

for type in int long 'long long' 'void *' size_t; do
  try "8 byte $type" <<END
#include <stddef.h>
int main(void) { return sizeof($type) != 8; }
END
done

for call in 'getppid()' 'access("conftest.c", R_OK)' 'access("missing", R_OK)' 'sysconf(_SC_PAGESIZE)' 'dup(0)'; do
  try "$call" <<END
#include <unistd.h>
int main(void) { return $call < 0; }
END
done
