import { type AnswersHandle, SharedAnswers } from '../../../src/video/nvdec/shared-answers.ts'

declare const self: Worker

export interface Questions {
  handle: AnswersHandle
  keys: number[]
  /** How often each was asked. */
  asked: SharedArrayBuffer
}

self.onmessage = ({ data: { handle, keys, asked } }: MessageEvent<Questions>) => {
  const answers = new SharedAnswers(handle)
  const counts = new Int32Array(asked)
  const heard = keys.map(key =>
    answers.get(key, () => {
      Atomics.add(counts, key, 1)
      return [key, key * key]
    }),
  )
  self.postMessage(heard)
}
