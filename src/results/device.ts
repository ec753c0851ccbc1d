/** A device's name in output: RnB's -1 is the CPU. */
export const deviceText = (device: number): string => (device < 0 ? 'cpu' : `cuda:${device}`)
