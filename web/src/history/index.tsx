/** One's own jobs, and two of them side by side. */

export function History() {
  return <h1>Jobs</h1>;
}

export function Compare({ a, b }: { a: string; b: string }) {
  return (
    <h1>
      Compare {a} with {b}
    </h1>
  );
}
