import ptx from './network.ptx' with { type: 'text' }

/** The PTX of the kernels `arrange`, `pick`, `pool` and `linear`; network.ptx says what they do and what their parameters are. */
export const NETWORK_PTX: string = ptx

/** Channels of the network's tensors are padded with zeros to a multiple of this. */
export const CHANNEL_GROUP = 8

/** Parameters in order, for `new Kernel`. */
export const ARRANGE = [
  'pointer',
  'pointer',
  'u32',
  'u32',
  'u32',
  'u32',
  'u32',
  'u32',
  { bytes: 8 },
  'u32',
  'u32',
  'u32',
  'u32',
] as const
export const PICK = ['pointer', 'pointer', 'u32', 'u32', 'u32', 'u32', 'u32', 'u32', 'u32', 'u32'] as const
export const POOL = ['pointer', 'pointer', 'u32', 'u32', 'u32'] as const
export const LINEAR = ['pointer', 'pointer', 'pointer', 'pointer', 'u32', 'u32'] as const

/** Threads of a block. */
export const ARRANGE_BLOCK = [256, 1, 1] as const
export const PICK_BLOCK = [256, 1, 1] as const
export const POOL_BLOCK = [32, 8, 1] as const
export const LINEAR_BLOCK = [32, 8, 1] as const

export const arrangeGrid = (places: number, padded: number, clips: number): [number, number, number] => [
  Math.ceil(places / 256),
  padded / CHANNEL_GROUP,
  clips,
]
export const pickGrid = (places: number, pieces: number, clips: number): [number, number, number] => [
  Math.ceil((places * pieces) / 256),
  clips,
  1,
]
export const poolGrid = (padded: number, clips: number): [number, number, number] => [
  Math.ceil(padded / 32),
  clips,
  1,
]
export const linearGrid = (classes: number, clips: number): [number, number, number] => [
  Math.ceil(classes / 8),
  clips,
  1,
]

/** Bytes that `pick` copies at once. */
export const PIECE_BYTES = 16

/** Bits of `halves`. */
export const FROM_HALF = 1
export const TO_HALF = 2
