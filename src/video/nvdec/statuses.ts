import {
  cuvidDecodeStatus_Error,
  cuvidDecodeStatus_Error_Concealed,
  cuvidDecodeStatus_InProgress,
} from '../../../ffi/nvcuvid/constants.ts'
import { type DecoderHandle, decodeStatus } from '../../../ffi/nvcuvid/decoder.ts'

const PAUSE_MS = 0.05
const pause = new Int32Array(new SharedArrayBuffer(4))

/**
 * The pictures whose decode status has not been looked at. The engine says how decoding went for the picture that a
 * surface holds, once it is done with it: so it is asked before a surface is written over, and for all pictures up to
 * one that was waited for.
 */
export class DecodeStatuses {
  readonly #order: Int32Array
  readonly #index: Int32Array
  readonly #onDamage: (index: number) => void
  #submitted = 0
  #open = 0

  /** @param onDamage called with the presentation index of a picture that was decoded with errors */
  constructor(surfaces: number, onDamage: (index: number) => void) {
    this.#order = new Int32Array(surfaces).fill(-1)
    this.#index = new Int32Array(surfaces)
    this.#onDamage = onDamage
  }

  /** A picture is about to be decoded into a surface: looks at what the surface held, waiting for it. */
  submit(decoder: DecoderHandle, surface: number, index: number): void {
    // The second field of a picture goes where the first went.
    if (this.#order[surface]! >= 0 && this.#index[surface] !== index) this.#look(decoder, surface)
    if (this.#order[surface]! < 0) this.#open++
    this.#order[surface] = this.#submitted++
    this.#index[surface] = index
  }

  /** The picture in a surface is decoded, and so are all that were submitted before it: looks at them. */
  decoded(decoder: DecoderHandle, surface: number): void {
    const last = this.#order[surface]!
    for (let other = 0; other < this.#order.length; other++) {
      const order = this.#order[other]!
      if (order >= 0 && order <= last) this.#look(decoder, other)
    }
  }

  /** Looks at all that are left, waiting for each. */
  settle(decoder: DecoderHandle): void {
    for (let surface = 0; this.#open > 0 && surface < this.#order.length; surface++) {
      if (this.#order[surface]! >= 0) this.#look(decoder, surface)
    }
  }

  #look(decoder: DecoderHandle, surface: number): void {
    let status = decodeStatus(decoder, surface)
    while (status === cuvidDecodeStatus_InProgress) {
      Atomics.wait(pause, 0, 0, PAUSE_MS)
      status = decodeStatus(decoder, surface)
    }
    this.#order[surface] = -1
    this.#open--
    if (status === cuvidDecodeStatus_Error || status === cuvidDecodeStatus_Error_Concealed) {
      this.#onDamage(this.#index[surface]!)
    }
  }
}
