/**
 * The number of positions that a kernel's inner loop computes at a time; never instantiated, like the
 * codecs.
 */

@unmanaged
export abstract class Width {
  abstract get positions(): i32;
}
@unmanaged
export class Two extends Width {
  @inline override get positions(): i32 {
    return 2;
  }
}
@unmanaged
export class Three extends Width {
  @inline override get positions(): i32 {
    return 3;
  }
}
@unmanaged
export class Four extends Width {
  @inline override get positions(): i32 {
    return 4;
  }
}
@unmanaged
export class Five extends Width {
  @inline override get positions(): i32 {
    return 5;
  }
}
