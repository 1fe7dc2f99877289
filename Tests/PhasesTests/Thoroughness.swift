import Glibc

/// Whether there is time: with `GODWIT_THOROUGH` set, sweeps leave nothing out.
let isThorough = getenv("GODWIT_THOROUGH") != nil

/// The step of a sweep over moments.
func sweepStep(_ usual: Int) -> Int { isThorough ? 1 : usual }
