/** What its own headers say about the picture(s) in a packet, as far as others depend on it. */
export interface Picture {
  /** A later picture may depend on it. True where the headers don't say. */
  readonly reference: boolean
  /** Decoding can start at it, given that the container calls it a keyframe. */
  readonly entry: boolean
  /** Nothing that follows it in decode order depends on anything before it, whatever it is presented after. */
  readonly closed: boolean
  /** It, or one of them, is presented. */
  readonly shown: boolean
  /** Although no reference, it changes how a next picture that is not `fresh` decodes. */
  readonly lingers: boolean
  /** It decodes the same whatever pictures that are no references came before it. */
  readonly fresh: boolean
}

/** Reads packets in decode order, without gaps since an entry: what earlier headers said may matter. */
export type PictureReader = (data: Uint8Array) => Picture

const PLAIN: Picture = {
  reference: true,
  entry: true,
  closed: false,
  shown: true,
  lingers: false,
  fresh: true,
}

/** A picture of which nothing is known but what is given: kept, and trusted to be what the container says. */
export function picture(known: Partial<Picture> = {}): Picture {
  return { ...PLAIN, ...known }
}
