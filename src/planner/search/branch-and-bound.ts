import { EventHeap } from '../../simulator/events.ts'

/** A tree of decisions, of which each leaf has a value. */
export interface Tree<N> {
  roots: readonly N[]
  /** Nodes with one decision more; undefined for a leaf. */
  children(node: N): readonly N[] | undefined
  /** What no leaf below a node has more of. */
  bound(node: N): number
  /** Of two nodes with the same bound, the one to look at first has more of it. */
  promise?(node: N): number
  /** Of a leaf; -Infinity for one that does not count. */
  value(leaf: N): number
}

export interface SearchOptions<N> {
  /** A leaf that is known already. */
  incumbent?: { leaf: N; value: number } | undefined
  /** Leaves that are better by no more than this share of the best are not looked for. */
  tolerance?: number
  /** Whether to go on, asked before each node. */
  goOn?(): boolean
  /** A value with which there is no need to look on. */
  enough?: number
}

export interface SearchEnd<N> {
  best?: { leaf: N; value: number }
  /** What no leaf of the tree has more of. */
  bound: number
  /** How it ended: all was looked at or cut off, or there was enough, or no time. */
  ended: 'proven' | 'enough' | 'stopped'
  /** Nodes whose children were made, and leaves whose value was asked for. */
  expanded: number
  evaluated: number
}

/**
 * Finds the best leaf of a tree: always looks next where the bound is highest, from there down as long as it stays so,
 * and cuts off what cannot be better than the best so far.
 */
export function branchAndBound<N>(tree: Tree<N>, options: SearchOptions<N> = {}): SearchEnd<N> {
  return new Search(tree, options).run()
}

class Search<N> {
  readonly #open = new EventHeap<N>()
  #best: { leaf: N; value: number } | undefined
  /** The highest bound of what was cut off. */
  #cut = Number.NEGATIVE_INFINITY
  #expanded = 0
  #evaluated = 0

  constructor(
    readonly tree: Tree<N>,
    readonly options: SearchOptions<N>,
  ) {
    this.#best = options.incumbent
  }

  run(): SearchEnd<N> {
    this.#offer(this.tree.roots)
    const { goOn = () => true, enough = Number.POSITIVE_INFINITY } = this.options
    for (;;) {
      if (this.#best && this.#best.value >= enough) return this.#end('enough')
      if (this.#open.size === 0) return this.#end('proven')
      if (!goOn()) return this.#end('stopped')
      const bound = -this.#open.nextTime
      this.#dive(this.#open.pop(), bound)
    }
  }

  #end(ended: SearchEnd<N>['ended']): SearchEnd<N> {
    const value = this.#best?.value ?? Number.NEGATIVE_INFINITY
    const open = this.#open.size > 0 ? -this.#open.nextTime : Number.NEGATIVE_INFINITY
    return {
      ...(this.#best && { best: this.#best }),
      bound: Math.max(value, open, this.#cut),
      ended,
      expanded: this.#expanded,
      evaluated: this.#evaluated,
    }
  }

  /** Whether something with this bound may be enough better than the best so far to look at it. */
  #matters(bound: number): boolean {
    const { tolerance = 0 } = this.options
    if (bound === Number.NEGATIVE_INFINITY) return false
    if (!this.#best) return true
    const { value } = this.#best
    return bound > value + tolerance * Math.abs(value)
  }

  #drop(bound: number): void {
    this.#cut = Math.max(this.#cut, bound)
  }

  /** Down from a node, as long as one of its children is as good as any open node. */
  #dive(first: N, bound: number): void {
    let [node, own]: [N | undefined, number] = [first, bound]
    while (node !== undefined) {
      if (!this.#matters(own)) {
        this.#drop(own)
        return
      }
      const children = this.tree.children(node)
      if (children === undefined) {
        this.#look(node)
        return
      }
      this.#expanded++
      const next = this.#offer(children, own)
      if (next === undefined) return
      node = next
      own = bound
    }
  }

  /** Opens nodes. @returns in place of opening it, the best of them if its bound is `through` */
  #offer(nodes: readonly N[], through?: number): N | undefined {
    const { tree } = this
    const rated = nodes
      .map(node => ({ node, bound: tree.bound(node), promise: tree.promise?.(node) ?? 0 }))
      .sort((a, b) => b.bound - a.bound || b.promise - a.promise)
    const [first, ...others] = rated
    const goesOn = first !== undefined && through !== undefined && first.bound >= through
    for (const { node, bound } of goesOn ? others : rated)
      if (this.#matters(bound)) this.#open.push(-bound, node)
      else this.#drop(bound)
    return goesOn ? first.node : undefined
  }

  #look(leaf: N): void {
    this.#evaluated++
    const value = this.tree.value(leaf)
    if (value === Number.NEGATIVE_INFINITY) return
    if (!this.#best || value > this.#best.value) this.#best = { leaf, value }
  }
}
