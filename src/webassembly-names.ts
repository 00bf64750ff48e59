/**
 * What the package's types need of the global `WebAssembly`, for programs that are not compiled with the
 * library "dom": names alone. Where that library is there, these add nothing to what it declares.
 */

declare global {
  namespace WebAssembly {
    interface Memory {}
    interface Module {}
  }
}

export type {};
