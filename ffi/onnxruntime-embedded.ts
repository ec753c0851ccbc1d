/** Set to false by the build that leaves ONNX Runtime out (`--define RNB_WITH_ORT=false`); not defined otherwise. */
declare const RNB_WITH_ORT: boolean | undefined

/**
 * Path of the ONNX Runtime library that came with the program: a real file when run from source, inside the executable
 * when compiled; undefined in a build without it. The imports stay inside the condition, so that a build which folds
 * it away (by the definition, or by the processor) carries no library it does not use.
 */
export const embeddedOnnxRuntime: string | undefined =
  typeof RNB_WITH_ORT !== 'undefined' && !RNB_WITH_ORT
    ? undefined
    : process.arch === 'arm64'
      ? (
          await import('../node_modules/onnxruntime-node/bin/napi-v6/linux/arm64/libonnxruntime.so.1', {
            with: { type: 'file' },
          })
        ).default
      : (
          await import('../node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1', {
            with: { type: 'file' },
          })
        ).default
