// Opens the menu on small screens.
const button = document.querySelector(".toggle");
const menu = document.getElementById("menu");
button.addEventListener("click", () => {
  const open = menu.classList.toggle("open");
  button.setAttribute("aria-expanded", String(open));
});
