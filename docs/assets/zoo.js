// A box over the zoo's table that shows the rows with all the words typed
document.addEventListener("DOMContentLoaded", () => {
  const box = document.getElementById("zoo-filter")
  if (!box) return
  const rows = [...document.querySelectorAll("article table tbody tr")]
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/)
    for (const row of rows) row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word))
  })
})
