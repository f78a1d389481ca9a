// The read-out of a chart: the values of all curves at the pointer, or at the cursor that the arrow keys move.
for (const figure of document.querySelectorAll(".chart")) {
  const curves = JSON.parse(figure.querySelector("script").textContent);
  const [low, high] = figure.dataset.x.split(" ").map(Number);
  const byRatio = "log" in figure.dataset;
  const at = figure.querySelector(".at");
  const values = [...figure.querySelectorAll(".legend b")];
  const last = values.map((value) => value.textContent);
  const unit = figure.querySelector(".axis-name.x").textContent;
  const text = (v) => (v !== 0 && (Math.abs(v) < 1e-3 || Math.abs(v) >= 1e7) ? v.toExponential(3) : String(+v.toPrecision(4)));
  const span = high - low || 1;
  let place = 1;

  const nearest = (xs, x) => {
    let [from, to] = [0, xs.length - 1];
    while (to - from > 1) {
      const middle = (from + to) >> 1;
      if (xs[middle] <= x) from = middle;
      else to = middle;
    }
    return x - xs[from] <= xs[to] - x ? from : to;
  };
  const show = (plot, fraction) => {
    place = Math.min(1, Math.max(0, fraction));
    const x = byRatio ? low * (high / low) ** place : low + place * span;
    curves.forEach(([xs, ys], i) => (values[i].textContent = text(ys[nearest(xs, x)])));
    at.hidden = false;
    at.textContent = `${unit} ${text(byRatio ? x : Math.round(x))}`;
    plot.querySelector(".cursor").style.cssText = `display:block;left:${100 * place}%`;
  };
  const rest = (plot) => {
    values.forEach((value, i) => (value.textContent = last[i]));
    at.hidden = true;
    plot.querySelector(".cursor").style.display = "none";
  };
  for (const plot of figure.querySelectorAll(".plot")) {
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      show(plot, (event.clientX - box.left) / box.width);
    });
    plot.addEventListener("pointerleave", () => rest(plot));
    plot.addEventListener("blur", () => rest(plot));
    plot.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -0.01, ArrowRight: 0.01, Home: -1, End: 1 }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      show(plot, place + move);
    });
  }
}
