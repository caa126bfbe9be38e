//! The context of a program, and how the program is attached: at a BTF tracepoint, at a classic tracepoint or at a function.
//!
//! One program serves all of them. The way is known when it is loaded ([`Const::Carrier`]); the code of the others is removed.
//!
//! [`Const::Carrier`]: tracetui_shared::offsets::Const::Carrier

use crate::arch::on_arm;
use crate::read::konst;
use aya_ebpf::EbpfContext;
use core::ffi::c_void;
use tracetui_shared::offsets::carrier;
use zerocopy::FromBytes;

// Offsets in `struct pt_regs` of x86-64 in bytes (arch/x86/include/uapi/asm/ptrace.h).
const AX: u64 = 80;
pub const DI: u64 = 112;

/// The context of the program that runs.
#[derive(Clone, Copy)]
pub struct Context(*mut c_void);

impl Context {
    /// No context.
    pub const NONE: Context = Context(core::ptr::null_mut());

    /// The context that the kernel passed.
    #[inline(always)]
    pub fn of(ctx: &impl EbpfContext) -> Context {
        Context(ctx.as_ptr())
    }

    /// Whether there is none.
    #[inline(always)]
    pub fn is_none(self) -> bool {
        self.0.is_null()
    }

    /// The pointer for helpers.
    #[inline(always)]
    pub fn as_ptr(self) -> *mut c_void {
        self.0
    }

    /// An argument of a BTF tracepoint, counted from 0.
    #[inline(always)]
    pub fn argument<const NUMBER: usize>(self) -> u64 {
        match NUMBER {
            0 => self.load::<u64, 0>(),
            1 => self.load::<u64, 8>(),
            2 => self.load::<u64, 16>(),
            3 => self.load::<u64, 24>(),
            _ => self.load::<u64, 32>(),
        }
    }

    /// A field of a classic tracepoint's record, or a register, at an offset in bytes.
    ///
    /// It is read in assembly, because the compiler would join the loads of several branches and compute the address. The
    /// verifier refuses a context pointer with an offset that is not constant.
    #[inline(always)]
    pub fn load<T: FromBytes, const AT: usize>(self) -> T {
        #[cfg(target_arch = "bpf")]
        // SAFETY: the verifier checks the offset against the size of the context. All bytes are valid in a `T`.
        unsafe {
            let value: u64;
            macro_rules! load {
                ($width:literal) => {
                    core::arch::asm!(concat!("{value} = *(", $width, " *)({ctx} + {at})"), value = out(reg) value,
                        ctx = in(reg) self.0, at = const AT, options(nostack, readonly))
                };
            }
            match size_of::<T>() {
                1 => load!("u8"),
                2 => load!("u16"),
                4 => load!("u32"),
                _ => load!("u64"),
            }
            core::mem::transmute_copy(&value)
        }
        #[cfg(not(target_arch = "bpf"))]
        T::read_from_bytes(&[]).unwrap_or_else(|_| unreachable!())
    }

    /// The first argument of a function, at its entry.
    #[inline(always)]
    pub fn first_argument(self) -> u64 {
        if on_arm() { self.load::<u64, 0>() } else { self.load::<u64, { DI as usize }>() }
    }

    /// The result of a function, at its return.
    #[inline(always)]
    pub fn result(self) -> u64 {
        if on_arm() { self.load::<u64, 0>() } else { self.load::<u64, { AX as usize }>() }
    }
}

/// Whether the program is at a BTF tracepoint.
#[inline(always)]
pub fn is_typed() -> bool {
    konst!(Carrier) == u64::from(carrier::TYPED)
}

/// Whether the program is at a function.
#[inline(always)]
pub fn is_at_function() -> bool {
    konst!(Carrier) == u64::from(carrier::FUNCTION)
}
