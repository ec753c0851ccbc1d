/** Whether a loader with these options may draw more than one clip of a video: then threads can share them. */
export function drawsSeveral({
  num_clips_population: population,
}: Readonly<Record<string, unknown>>): boolean {
  return !Array.isArray(population) || population.some(clips => Number(clips) > 1)
}
