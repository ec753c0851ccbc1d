let kept = 0

/**
 * Keeps memory reachable until here, after a call in which C found its address: in a struct, or in an array of pointers.
 * An address is a number, by which the garbage collector knows nothing, and a variable is as good as gone after its last
 * use: minifiers inline it, compilers reuse its register, and a tail call drops the whole frame. What a call takes by
 * itself is better passed as it is, as an array, which lives as long as the call.
 */
export function keep(...views: readonly ArrayBufferView[]): void {
  for (const view of views) kept = (kept + view.byteLength) | 0
}
