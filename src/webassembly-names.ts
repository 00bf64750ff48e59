/**
 * Declares the names of the global `WebAssembly` that the package's types need, for programs that are
 * compiled without the library "dom". With that library, these declarations add nothing.
 */

declare global {
  namespace WebAssembly {
    interface Memory {}
    interface Module {}
  }
}

export type {};
